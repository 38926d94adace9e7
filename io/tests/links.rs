//! Every way to reach a server: TCP, TLS with and without a client certificate, a unix socket; user, password, database,
//! and who is asked for them.

#![allow(clippy::disallowed_methods)] // an application of the shell

mod server;

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use streamkeeper::{AskError, Builder, Credentials, Error, Notification, Tls};
use tokio::time::timeout;

use crate::server::{Server, free_port, short};

/// Whatever takes longer does not happen at all.
const LIMIT: Duration = Duration::from_secs(60);

/// A stream is announced and owned: all three connections work.
async fn works(builder: Builder) {
    let client = builder.start().await.unwrap();
    client.announce("s").await.unwrap();
    let mut notifications = client.notifications();
    let owned = async {
        while let Some(notification) = notifications.next().await {
            if let Notification::Added(lease) = notification {
                return lease;
            }
        }
        panic!("the client has ended");
    };
    let lease = timeout(LIMIT, owned).await.expect("owned in time");
    lease.done().await.unwrap();
    client.shutdown(LIMIT).await;
}

#[tokio::test]
async fn user_password_and_database() {
    let me = ["--user", "me", "on", ">geheim", "~*", "resetchannels", "&*", "+@all"];
    let server = Server::start(&[&me[..], &["--requirepass", "other"]].concat()).await;
    works(short("a").redis(format!("redis://me:geheim@127.0.0.1:{}/3", server.port))).await;
    works(short("a").redis(format!("redis://:other@127.0.0.1:{}", server.port))).await;
    let third = short("a").redis(format!("redis://me:geheim@127.0.0.1:{}/3", server.port)).service().unwrap();
    third.announce("only there").await.unwrap();
    assert_eq!(third.status().await.unwrap().announced, 1);
    let first = short("a").redis(format!("redis://me:geheim@127.0.0.1:{}", server.port)).service().unwrap();
    assert_eq!(first.status().await.unwrap().announced, 0);

    let wrong = short("a").redis(format!("redis://me:falsch@127.0.0.1:{}", server.port));
    let error = wrong.clone().start().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && !error.to_string().contains("falsch"), "{error}");
    let error = wrong.service().unwrap().announce("s").await.unwrap_err();
    assert!(matches!(error, AskError::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_unix_socket() {
    let server = Server::start(&["--unixsocket", "redis.sock", "--requirepass", "geheim"]).await;
    let socket = server.folder.join("redis.sock");
    works(short("a").redis(format!("unix://{}?db=2&pass=geheim", socket.display()))).await;
    works(short("b").redis(format!("redis+unix://{}?pass=geheim", socket.display()))).await;
}

#[tokio::test]
async fn ip_version_six() {
    let server = Server::start(&["--bind", "127.0.0.1", "::1"]).await;
    works(short("a").redis(format!("redis://[::1]:{}", server.port))).await;
}

#[tokio::test]
async fn the_next_server_is_tried() {
    let server = Server::start(&[]).await;
    works(short("a").redis("redis://127.0.0.1:1").redis(&server.url)).await;
    // A replica cannot be written to: the next one is.
    let port = server.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await;
    works(short("b").redis(&replica.url).redis(&server.url)).await;
}

/// Writes the files of an authority, of a server and of a client.
/// A server that takes connections and says nothing.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_for_the_next_one() {
    let (_listener, silent) = silent();
    let server = Server::start(&[]).await;
    let both = || short("a").call_timeout(Duration::from_secs(1)).redis(silent.clone()).redis(server.url.clone());
    works(both()).await;
    let service = both().service().unwrap();
    let announced = async { while service.announce("s").await.is_err() {} };
    timeout(LIMIT, announced).await.expect("announced in time");
}

#[tokio::test]
async fn nobody_waits_for_a_connection_longer_than_others_do() {
    let (_listener, silent) = silent();
    let service = short("a").call_timeout(Duration::from_millis(500)).redis(silent).service().unwrap();
    let all = futures::future::join_all((0..40).map(|i| service.announce(format!("s{i}"))));
    let all = timeout(Duration::from_secs(15), all).await.expect("not one after the other");
    assert!(all.iter().all(|result| matches!(result, Err(AskError::Unreachable(_)))), "{all:?}");
}

#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_not_used_again() {
    let server = Server::start(&[]).await;
    let service = short("a").redis(server.url.clone()).service().unwrap();
    let mut hand = redis::Client::open(server.url.clone()).unwrap().get_connection().unwrap();
    for i in 0..20 {
        service.announce(format!("s{i}")).await.unwrap();
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes").exec(&mut hand).unwrap();
        let clients = |info: String| info.lines().filter(|line| *line == "connected_clients:1").count() == 1;
        while !clients(redis::cmd("INFO").arg("clients").query(&mut hand).unwrap()) {
            tokio::task::yield_now().await;
        }
        // It has gone out; what has arrived is heard of before this is over.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn certificates(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("ca.crt"), authority.pem()).unwrap();
    for (name, hosts) in [("server", vec!["localhost".to_owned(), "127.0.0.1".to_owned()]), ("client", Vec::new())] {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(hosts).unwrap();
        certificate.distinguished_name.push(DnType::CommonName, name);
        let certificate = certificate.signed_by(&key, &authority).unwrap();
        fs::write(folder.join(format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

#[tokio::test]
async fn tls() {
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("streamkeeper-tls-{}-{port}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    certificates(&folder);
    let encrypted = free_port().to_string();
    let files = ["--tls-ca-cert-file", "ca.crt", "--tls-cert-file", "server.crt", "--tls-key-file", "server.key"];
    let _server = Server::start_in(&folder, port, &[&["--tls-port", &encrypted], &files[..]].concat()).await;

    let file = |name: &str| folder.join(name);
    let ours = Some((file("client.crt"), file("client.key")));
    for host in ["localhost", "127.0.0.1"] {
        let tls = Tls { ca: Some(file("ca.crt")), identity: ours.clone() };
        works(short("a").redis(format!("rediss://{host}:{encrypted}/1")).tls(tls)).await;
    }
    let reach = |tls: Tls| short("a").redis(format!("rediss://localhost:{encrypted}")).tls(tls);
    let quick = |tls: Tls| reach(tls).start_within(Duration::from_secs(5)).start();
    // Without our certificate, with an authority that did not sign the server's, and with a file that is none.
    let error = quick(Tls { ca: Some(file("ca.crt")), identity: None }).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let error = quick(Tls { ca: None, identity: ours }).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("UnknownIssuer"), "{error}");
    for name in ["nothing", "server.key"] {
        let error = quick(Tls { ca: Some(file(name)), identity: None }).await.unwrap_err();
        assert!(matches!(&error, Error::Tls { file, .. } if file.ends_with(name)), "{error}");
    }
}

/// Who is asked for user and password, and how often that was.
#[derive(Clone, Default)]
struct Vault {
    open: Arc<Mutex<Option<&'static str>>>,
    asked: Arc<AtomicUsize>,
}

impl Vault {
    fn put(&self, password: &'static str) {
        *self.open.lock().unwrap() = Some(password);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    async fn ask(self) -> Result<Credentials, String> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        let password = *self.open.lock().unwrap();
        password.map(|password| Credentials::new(password).user("me")).ok_or_else(|| "the vault is sealed".to_owned())
    }
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_new_connection() {
    let me = ["--user", "me", "on", ">first", "~*", "resetchannels", "&*", "+@all"];
    let server = Server::start(&me).await;
    let vault = Vault::default();
    let asking = |name: &str| {
        let vault = vault.clone();
        let url = format!("redis://nobody@127.0.0.1:{}/3", server.port);
        short(name)
            .redis(url)
            .lease_ttl(Duration::from_secs(20))
            .heartbeat(Duration::from_millis(2_500))
            .credentials(move || vault.clone().ask())
    };
    let error = asking("a").start_within(Duration::from_millis(300)).start().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.to_string().contains("the vault is sealed"), "{error}");
    vault.put("wrong");
    let error = asking("a").start().await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && !error.to_string().contains("wrong@"), "{error}");

    vault.put("first");
    let before = vault.asked();
    let client = asking("a").start().await.unwrap();
    let mut notifications = client.notifications();
    client.announce("s").await.unwrap();
    let lease = loop {
        if let Notification::Added(lease) = notifications.next().await.expect("not the end") {
            break lease;
        }
    };
    assert!(vault.asked() >= before + 2, "for commands, and to announce, at least");

    // The password changes, and only then everything is cut.
    let admin = redis::Client::open(&*server.url).unwrap();
    let mut admin = admin.get_multiplexed_async_connection().await.unwrap();
    let change = redis::cmd("ACL").arg(&["SETUSER", "me", "resetpass", ">second"]).exec_async(&mut admin).await;
    change.unwrap();
    let before = vault.asked();
    vault.put("second");
    let cut: usize = redis::cmd("CLIENT").arg(&["KILL", "USER", "me"]).query_async(&mut admin).await.unwrap();
    assert!(cut >= 2, "{cut}");
    // Nothing is lost; and what is new is owned, so all is connected again.
    let other = client.service();
    let news = async {
        while other.announce("t").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        loop {
            match notifications.next().await.expect("not the end") {
                Notification::Added(lease) if lease.stream().as_str() == "t" => return,
                Notification::Disowned { stream, reason, .. } => panic!("{stream} is lost: {}", reason.label()),
                _ => {}
            }
        }
    };
    timeout(LIMIT, news).await.expect("owned in time");
    assert!(lease.is_valid() && vault.asked() > before);
    lease.done().await.unwrap();
    client.shutdown(LIMIT).await;
}
