//! A certificate authority of the test's own and a server certificate for 127.0.0.1, for `rediss://`.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// The files that a TLS server and its clients need.
#[derive(Debug)]
pub struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// Makes a new authority and one certificate of it.
    ///
    /// # Panics
    /// If the files cannot be written.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut authority = CertificateParams::new(Vec::new()).expect("no names are good names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        authority.distinguished_name.push(rcgen::DnType::CommonName, "Streamkeeper test authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"))
            .expect("a self-signed certificate");
        let key = KeyPair::generate().expect("a key");
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
            .expect("good names")
            .signed_by(&key, &authority)
            .expect("a signed certificate");
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("a written file");
        write("ca.pem", authority.pem());
        write("server.pem", server.pem());
        write("server.key", key.serialize_pem());
        Self { folder }
    }

    /// The authority's certificate, which a client must trust.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// The server's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
