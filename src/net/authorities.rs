//! Who vouches for a server's certificate: the public authorities compiled in, and those of
//! whaply.ca_file. Whether a certificate is verified is no choice anywhere.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts};

/// The certificate authorities of whoever runs the server, beside the public ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorities {
    own: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads the certificates of a PEM file; whatever else is in it is passed over. The error
    /// completes "the file …".
    pub fn parse(pem: &[u8]) -> Result<Self, String> {
        let own = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let own = own.map_err(|error| format!("is no PEM file: {error}"))?;
        if own.is_empty() {
            return Err("holds no certificate in PEM".to_owned());
        }
        for (number, certificate) in (1..).zip(&own) {
            let usable = RootCertStore::empty().add(certificate.clone());
            usable.map_err(|error| {
                format!("holds no usable certificate at place {number}: {error}")
            })?;
        }
        Ok(Self { own })
    }

    /// For connections. The public ones are those of Mozilla's list as compiled in, so that a call
    /// does not depend on what the server's image has installed.
    pub(super) fn roots(&self) -> RootCerts {
        if self.own.is_empty() {
            return RootCerts::WebPki;
        }
        let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        let all = public
            .chain(&self.own)
            .map(|certificate| Certificate::from_der(certificate).to_owned());
        RootCerts::new_with_certs(&all.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_none_is_told_why() {
        for (file, why) in [
            ("", "holds no certificate"),
            ("just words", "holds no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n",
                "is no PEM file",
            ),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "at place 1"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "is no PEM file"),
        ] {
            let error = Authorities::parse(file.as_bytes()).expect_err(file);
            assert!(error.contains(why), "{file:?}: {error}");
        }
    }
}
