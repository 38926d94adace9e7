//! User and password that change while we run: asked for at each new connection.
//!
//! Tokens of a cloud's identity service live for minutes, and passwords are rotated. What is connected stays so, whatever
//! becomes of the password it came with; only the next connection needs the new one.

use std::{error::Error as StdError, fmt, future::Future, io, sync::Arc};

use futures::future::BoxFuture;
use redis::RedisConnectionInfo;
use streamkeeper_core::{link::Link, trouble::Trouble};

use super::connect::{ByteStream, Connect};
use crate::clock::Clock;

/// User and password, as a new connection gives them to the server. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Option<String>,
    password: String,
}

impl Credentials {
    /// A password, or a token that stands for one. The user is the URL's, if it names one, else the server's default.
    pub fn new(password: impl Into<String>) -> Credentials {
        Credentials { user: None, password: password.into() }
    }

    /// The user whose password it is.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>) -> Credentials {
        self.user = Some(name.into());
        self
    }

    fn apply(self, login: RedisConnectionInfo) -> RedisConnectionInfo {
        let login = match self.user {
            Some(user) => login.set_username(user),
            None => login,
        };
        login.set_password(self.password)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Who is asked.
#[derive(Clone)]
pub(crate) struct Provider(Arc<dyn Fn() -> BoxFuture<'static, io::Result<Credentials>> + Send + Sync>);

impl Provider {
    pub(crate) fn new<F, A, E>(ask: F) -> Provider
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<Credentials, E>> + Send + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Provider(Arc::new(move || {
            let asked = ask();
            Box::pin(async move { asked.await.map_err(io::Error::other) })
        }))
    }

    /// The login with what is valid now.
    pub(crate) async fn fill(&self, login: RedisConnectionInfo) -> io::Result<RedisConnectionInfo> {
        let given = (self.0)().await;
        let given = given.map_err(|e| io::Error::new(e.kind(), format!("no user and password were provided: {e}")))?;
        Ok(given.apply(login))
    }
}

/// User and password as the URL says, unless there is somebody to ask.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) of_url: RedisConnectionInfo,
    pub(crate) provider: Option<Provider>,
}

impl Login {
    /// With what is valid now.
    pub(crate) fn now(&self) -> BoxFuture<'static, io::Result<RedisConnectionInfo>> {
        let Login { of_url, provider } = self.clone();
        Box::pin(async move {
            match provider {
                Some(provider) => provider.fill(of_url).await,
                None => Ok(of_url),
            }
        })
    }
}

/// A way to the server whose user and password are asked for.
pub(crate) struct Asking {
    pub(crate) inner: Arc<dyn Connect>,
    pub(crate) provider: Provider,
}

impl Connect for Asking {
    fn open(&self, link: Link) -> BoxFuture<'static, io::Result<Box<dyn ByteStream>>> {
        self.inner.open(link)
    }

    fn login(&self) -> RedisConnectionInfo {
        self.inner.login()
    }

    fn login_now(&self) -> BoxFuture<'static, io::Result<RedisConnectionInfo>> {
        let (asked, provider) = (self.inner.login_now(), self.provider.clone());
        Box::pin(async move { provider.fill(asked.await?).await })
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn wrong_server(&self, link: Link, said: &Trouble) {
        self.inner.wrong_server(link, said);
    }

    fn asks_role(&self) -> bool {
        self.inner.asks_role()
    }

    fn moved(&self) -> BoxFuture<'static, ()> {
        self.inner.moved()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.inner.spawn(task);
    }

    fn drive(&self, name: &str, driver: BoxFuture<'static, ()>) -> io::Result<()> {
        self.inner.drive(name, driver)
    }

    fn clock(&self) -> Clock {
        self.inner.clock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fill(provider: &Provider, url_user: Option<&str>) -> io::Result<RedisConnectionInfo> {
        let login = RedisConnectionInfo::default().set_db(3);
        let login = url_user.iter().fold(login, |login, user| login.set_username(user));
        provider.fill(login).await
    }

    #[tokio::test]
    async fn what_is_provided_goes_before_what_the_url_says() {
        let alone = Provider::new(|| async { Ok::<_, io::Error>(Credentials::new("now")) });
        let login = fill(&alone, Some("me")).await.unwrap();
        assert_eq!((login.username(), login.password(), login.db()), (Some("me"), Some("now"), 3));
        assert_eq!(fill(&alone, None).await.unwrap().username(), None);

        let both = Provider::new(|| async { Ok::<_, io::Error>(Credentials::new("now").user("she")) });
        assert_eq!(fill(&both, Some("me")).await.unwrap().username(), Some("she"));
    }

    #[tokio::test]
    async fn who_cannot_provide_says_why_and_nothing_shows_a_password() {
        let none = Provider::new(|| async { Err::<Credentials, _>("the vault is sealed") });
        let error = fill(&none, None).await.unwrap_err().to_string();
        assert_eq!(error, "no user and password were provided: the vault is sealed");
        assert_eq!(format!("{:?}", Credentials::new("geheim").user("me")), r#"Credentials { user: Some("me"), .. }"#);
    }
}
