//! TLS towards the server: rustls with the ring provider, the web's roots or the given CA, and a client certificate
//! where one is asked for.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

use crate::errors::Error;

/// How a `rediss://` server is checked, and how it checks us.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM file with the certificates of the authorities to trust instead of the web's.
    pub ca: Option<PathBuf>,
    /// PEM files with our own certificate chain and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn connector(&self) -> Result<TlsConnector, Error> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|e| wrong(path, &e))?;
                }
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Tls { file: PathBuf::new(), why: e.to_string() })?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e))?;
                builder.with_client_auth_cert(certificates(chain)?, private).map_err(|e| wrong(chain, &e))?
            }
        };
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all = all.map_err(|e| wrong(path, &e))?;
    if all.is_empty() {
        return Err(wrong(path, &"it holds no certificate"));
    }
    Ok(all)
}

fn wrong(file: &Path, why: &dyn fmt::Display) -> Error {
    Error::Tls { file: file.to_owned(), why: why.to_string() }
}
