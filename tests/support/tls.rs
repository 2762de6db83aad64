//! TLS in front of a fake, with a certificate of an authority made for the occasion: what a company's
//! own certificates are like. The fake behind it knows nothing of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority that nobody knows yet.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate, as it stands in a file.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

pub struct TlsFront {
    address: SocketAddr,
    _runtime: Runtime,
}

impl TlsFront {
    /// On a free port of 127.0.0.1, with a certificate for `name` alone, in front of `behind`.
    pub fn start(authority: &Authority, name: &str, behind: SocketAddr) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(certified(authority, name)));
        let runtime = Runtime::new().expect("a fake needs a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // An error is a client that does not trust us.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    if let Ok(mut behind) = TcpStream::connect(behind).await {
                        let _ = copy_bidirectional(&mut stream, &mut behind).await;
                    }
                });
            }
        });
        Self { address, _runtime: runtime }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn certified(authority: &Authority, name: &str) -> ServerConfig {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority.0).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![certificate.der().clone()];
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    config.expect("a key that fits its certificate")
}
