//! Whom a client of an index in another system trusts: the system's authorities, or those in `index.ca_file` and no others.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The authorities in `index.ca_file`.
///
/// # Errors
/// Names the setting and what is wrong with the file.
pub fn read(file: &Path) -> Result<RootCertStore, String> {
    roots(&certificates(file)?)
}

/// Whoever sets `index.ca_file` takes the connection for encrypted.
///
/// # Errors
/// When it is set beside an address that is not.
pub fn not_in_vain(file: Option<&Path>, encrypted: bool, address: &str) -> Result<(), String> {
    match (file, encrypted) {
        (Some(_), false) => {
            Err(format!("index.ca_file: is set, and {address} asks for no encryption; change one of the two"))
        }
        _ => Ok(()),
    }
}

/// Makes the client of this address trust the authorities in `index.ca_file`, where it is set.
///
/// # Errors
/// As [`read`] and [`not_in_vain`].
pub fn trusting(client: ClientBuilder, url: &Url, file: Option<&Path>) -> Result<ClientBuilder, String> {
    not_in_vain(file, url.scheme() == "https", "`index.url`")?;
    let Some(file) = file else { return Ok(client) };
    let certificates = certificates(file)?;
    // The client itself would tell late what is wrong with one.
    roots(&certificates)?;
    let trusted = certificates.iter().map(|one| Certificate::from_der(one));
    Ok(client.tls_certs_only(trusted.collect::<Result<Vec<_>, _>>().map_err(|error| unusable(&error))?))
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| unusable(&error))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = fs::read(file).map_err(|error| unusable(&error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err("index.ca_file: holds no certificate; it must be in PEM".to_owned())
        }
        certificates => certificates.map_err(|error| unusable(&error)),
    }
}

fn unusable(error: &dyn Display) -> String {
    format!("index.ca_file: cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_names_no_authority_is_refused_with_its_setting() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (content, said) in [
            ("", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
            ("-----BEGIN CERTIFICATE-----\n", "cannot be read"),
        ] {
            fs::write(file.path(), content).unwrap();
            let told = read(file.path()).unwrap_err();
            assert!(told.starts_with("index.ca_file: ") && told.contains(said), "{told}");
        }
        assert!(read(Path::new("/no/such/file")).is_err_and(|told| told.contains("No such file")));
    }
}
