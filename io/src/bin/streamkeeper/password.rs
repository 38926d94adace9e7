//! A password that stands in a file, as secrets of Kubernetes and Docker do: read anew for each connection, so that it
//! can be changed while we run.

use std::{
    fs,
    future::{Ready, ready},
    io,
    path::{Path, PathBuf},
};

use streamkeeper::Credentials;

/// Who is asked for the password.
pub(crate) type Ask = Box<dyn Fn() -> Ready<io::Result<Credentials>> + Send + Sync>;

/// Reads the password from this file whenever it is asked; a line's end behind it is no part of it.
pub(crate) fn of(file: PathBuf) -> Ask {
    let named = |e: io::Error, file: &Path| io::Error::new(e.kind(), format!("the file {}: {e}", file.display()));
    Box::new(move || ready(read(&file).map_err(|e| named(e, &file))))
}

fn read(file: &Path) -> io::Result<Credentials> {
    let text = fs::read_to_string(file)?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password {
        "" => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty: write the password into it")),
        password => Ok(Credentials::new(password)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_each_time() {
        let file = std::env::temp_dir().join(format!("streamkeeper-password-{}", std::process::id()));
        let ask = of(file.clone());
        for text in ["a b ", "a b \n", "a b \r\n"] {
            fs::write(&file, text).unwrap();
            assert_eq!(ask().await.unwrap(), Credentials::new("a b "), "{text:?}");
        }
        fs::write(&file, "\n").unwrap();
        assert!(ask().await.unwrap_err().to_string().contains("empty"));
        fs::remove_file(&file).unwrap();
        let error = ask().await.unwrap_err().to_string();
        assert!(error.contains(&*file.to_string_lossy()), "{error}");
    }
}
