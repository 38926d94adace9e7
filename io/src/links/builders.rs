//! How a builder is told where the servers are: the same words for consumers, producers and services.

/// The settings of a builder whose `servers` are [`Servers`](super::servers::Servers), and whose `connect` goes before
/// them.
macro_rules! led_to_servers {
    ([$($generics:tt)*] $builder:ty) => {
        impl<$($generics)*> $builder {
            /// The server: `redis://[user][:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path?db=1` for a
            /// unix socket; `redis-sentinel://[user][:password@]sentinel[:port],…/primary[/db]` for the primary that
            /// sentinels name; `redis-cluster://[user][:password@]node[:port],…` for the node of a cluster that serves
            /// the keys. Called again, it adds a server to try when the ones before cannot be reached or turn out to be
            /// replicas, or more sentinels or nodes. Default: `redis://127.0.0.1:6379`.
            pub fn redis(mut self, url: impl Into<String>) -> Self {
                self.servers.urls.push(url.into());
                self
            }

            /// How a server that speaks TLS is checked, and what we show it. Default: the web's certificate authorities,
            /// nothing.
            pub fn tls(mut self, tls: $crate::Tls) -> Self {
                self.servers.tls = tls;
                self
            }

            /// Who is asked for user and password at each new connection: for passwords that are rotated, and for tokens
            /// that live for minutes. What it gives goes before what the URL says; without a user, the URL's is taken.
            ///
            /// Connections that are there stay authenticated: a rotation shows when the next one is made. The answer
            /// must come within the timeout of a call, on the thread that keeps what is owned: fetch ahead, wait
            /// asynchronously, never block. An error is logged and tried again like a connection that could not be made;
            /// so is a password that the server refuses, but at the start, where that is an error.
            ///
            /// ```no_run
            /// # async fn token() -> Result<String, std::io::Error> { Ok(String::new()) }
            /// use streamkeeper::{Client, Credentials};
            ///
            /// let builder = Client::builder("orders")
            ///     .redis("rediss://cache.example:6379")
            ///     .credentials(|| async { Ok::<_, std::io::Error>(Credentials::new(token().await?).user("worker")) });
            /// ```
            pub fn credentials<F, A, E>(mut self, ask: F) -> Self
            where
                F: Fn() -> A + Send + Sync + 'static,
                A: Future<Output = Result<$crate::Credentials, E>> + Send + 'static,
                E: Into<Box<dyn std::error::Error + Send + Sync>>,
            {
                self.servers.provider = Some($crate::links::credentials::Provider::new(ask));
                self
            }

            /// User and password of the sentinels that a `redis-sentinel://` URL names; user and password in the URL are
            /// those of the servers. Default: none.
            pub fn sentinel_login(mut self, user: Option<&str>, password: Option<&str>) -> Self {
                self.servers.log_in_at_sentinels(user, password);
                self
            }

            /// How TLS is spoken to sentinels, or, with `None`, that it is not. Default: as to the servers, so with
            /// `rediss-sentinel://`, and as [`tls`](Self::tls) says.
            pub fn sentinel_tls(mut self, tls: Option<$crate::Tls>) -> Self {
                self.servers.sentinel_tls = Some(tls);
                self
            }

            /// Reaches the server in an own way instead of by URL.
            pub fn connect_with(mut self, connect: std::sync::Arc<dyn $crate::links::connect::Connect>) -> Self {
                self.connect = Some(connect);
                self
            }
        }
    };
}

pub(crate) use led_to_servers;
