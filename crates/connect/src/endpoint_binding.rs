//! What SCRAM-SHA-256-PLUS is bound to: the hash of the server's certificate.

use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::Decode;

const MD5_WITH_RSA: &str = "1.2.840.113549.1.1.4";
const SHA1_WITH_RSA: &str = "1.2.840.113549.1.1.5";
const SHA256_WITH_RSA: &str = "1.2.840.113549.1.1.11";
const SHA384_WITH_RSA: &str = "1.2.840.113549.1.1.12";
const SHA512_WITH_RSA: &str = "1.2.840.113549.1.1.13";
const SHA1_WITH_ECDSA: &str = "1.2.840.10045.4.1";
const SHA256_WITH_ECDSA: &str = "1.2.840.10045.4.3.2";
const SHA384_WITH_ECDSA: &str = "1.2.840.10045.4.3.3";
const SHA512_WITH_ECDSA: &str = "1.2.840.10045.4.3.4";

/// The `tls-server-end-point` data of a certificate in DER ([RFC 5929, section 4.1]): its hash by
/// the hash of its signature algorithm, SHA-256 in place of MD5 and SHA-1.
///
/// `None` where the algorithm has no single hash (Ed25519) or carries it as a parameter (RSA-PSS,
/// which servers before Postgres 16 can not bind to): then no binding is offered.
///
/// [RFC 5929, section 4.1]: https://www.rfc-editor.org/rfc/rfc5929#section-4.1
pub(crate) fn data(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    match parsed.signature_algorithm().oid.to_string().as_str() {
        MD5_WITH_RSA | SHA1_WITH_RSA | SHA256_WITH_RSA | SHA1_WITH_ECDSA | SHA256_WITH_ECDSA => {
            Some(Sha256::digest(certificate).to_vec())
        }
        SHA384_WITH_RSA | SHA384_WITH_ECDSA => Some(Sha384::digest(certificate).to_vec()),
        SHA512_WITH_RSA | SHA512_WITH_ECDSA => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    fn certificate(algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let names = vec!["localhost".to_owned()];
        let parameters = CertificateParams::new(names).unwrap();
        parameters.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_hashed_by_the_hash_of_its_signature() {
        let sha256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(data(&sha256), Some(Sha256::digest(&sha256).to_vec()));
        let sha384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(data(&sha384), Some(Sha384::digest(&sha384).to_vec()));
    }

    #[test]
    fn a_certificate_without_a_hash_of_its_own_gives_no_binding() {
        assert_eq!(data(&certificate(&rcgen::PKCS_ED25519)), None);
        assert_eq!(data(b"no certificate"), None);
    }
}
