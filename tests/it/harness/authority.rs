//! An authority of one's own that issues certificates and revokes them, by `openssl`, in a temporary directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tonic::transport::{Certificate, Identity};

/// The host that certificates of servers are for.
pub const HOST: &str = "scopegate.test";

const CONFIGURATION: &str = "[ca]\ndefault_ca = a\n[a]\ndatabase = index.txt\nnew_certs_dir = .\nrand_serial = yes\ndefault_md = sha256\n\
    policy = p\ndefault_days = 2\ndefault_crl_days = 2\ncrlnumber = crlnumber\ncrl_extensions = c\nunique_subject = no\n\
    certificate = ca.pem\nprivate_key = ca.key\n[c]\nauthorityKeyIdentifier = keyid\n[p]\ncommonName = supplied\n";
const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

pub struct Authority {
    directory: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let authority = Self { directory: tempfile::tempdir().unwrap() };
        for (name, text) in [("ca.cnf", CONFIGURATION), ("index.txt", ""), ("crlnumber", "01\n")] {
            std::fs::write(authority.file(name), text).unwrap();
        }
        authority.run(&format!("openssl req -x509 {NEW_KEY} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
        authority
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Issues `name.pem` and `name.key`, for these names, as in `DNS:host,URI:spiffe://…`.
    pub fn issue(&self, name: &str, names: &str) {
        self.issue_with(name, names, "");
    }

    /// One that was good yesterday.
    pub fn issue_expired(&self, name: &str, names: &str) {
        self.issue_with(name, names, "-startdate 20200101000000Z -enddate 20200102000000Z");
    }

    fn issue_with(&self, name: &str, names: &str, more: &str) {
        self.run(&format!(
            "openssl req {NEW_KEY} -subj /CN=any -keyout {name}.key -out {name}.csr && echo subjectAltName={names} >{name}.ext && \
             openssl ca -batch -notext -config ca.cnf -in {name}.csr -out {name}.pem -extfile {name}.ext {more}"
        ));
    }

    /// Revokes what was issued as `name`, and writes the list to `crl.pem`; an empty name revokes nothing.
    pub fn revoke(&self, name: &str) {
        if !name.is_empty() {
            self.run(&format!("openssl ca -config ca.cnf -revoke {name}.pem"));
        }
        self.run("openssl ca -config ca.cnf -gencrl -out new.pem && mv new.pem crl.pem");
    }

    pub fn certificate(&self) -> Certificate {
        Certificate::from_pem(std::fs::read(self.file("ca.pem")).unwrap())
    }

    pub fn identity(&self, name: &str) -> Identity {
        let read = |file: String| std::fs::read(self.file(&file)).unwrap();
        Identity::from_pem(read(format!("{name}.pem")), read(format!("{name}.key")))
    }

    /// Gives a server this certificate, as a mounted secret is replaced.
    pub fn install(&self, name: &str, directory: &Path) {
        for (from, to) in
            [(format!("{name}.key"), "tls.key"), (format!("{name}.pem"), "tls.crt"), ("ca.pem".into(), "ca.crt")]
        {
            let new = directory.join("new");
            std::fs::copy(self.file(&from), &new).unwrap();
            std::fs::rename(new, directory.join(to)).unwrap();
        }
    }

    fn run(&self, script: &str) {
        let made = Command::new("sh").args(["-c", script]).current_dir(self.directory.path()).output().unwrap();
        assert!(made.status.success(), "apt-get install openssl? {}", String::from_utf8_lossy(&made.stderr));
    }
}
