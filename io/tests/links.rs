//! Every way to reach a server: TCP, TLS with and without a client certificate, a unix socket; user, password, database.

#![allow(clippy::disallowed_methods)] // an application of the shell

mod server;

use std::{fs, path::Path, time::Duration};

use futures::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use streamkeeper::{AskError, Builder, Error, Notification, Tls};
use tokio::time::timeout;

use crate::server::{Server, free_port, short};

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
    let lease = timeout(Duration::from_secs(10), owned).await.expect("owned in time");
    lease.done().await.unwrap();
    client.shutdown(Duration::from_secs(2)).await;
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
async fn the_next_server_is_tried() {
    let server = Server::start(&[]).await;
    works(short("a").redis("redis://127.0.0.1:1").redis(&server.url)).await;
    // A replica cannot be written to: the next one is.
    let port = server.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await;
    works(short("b").redis(&replica.url).redis(&server.url)).await;
}

/// Writes the files of an authority, of a server and of a client.
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
    let quick = |tls: Tls| reach(tls).start_within(Duration::from_millis(300)).start();
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
