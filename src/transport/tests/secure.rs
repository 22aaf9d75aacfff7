use std::sync::Arc;

use http::Request;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;

use super::{By, Client, Listener, answer, get, post, raw, rest, settings, text, until, within};
use crate::message::stream::Incoming;
use crate::transport::http::{ClientSettings, SendErrorKind, Target};
use crate::transport::tls::{
    ClientCertificates, ClientTls, HostNames, Identity, TlsError, client_config, server_config,
};

fn listener(identity: Identity, clients: &ClientCertificates) -> Listener {
    let tls = server_config(identity, clients).expect("server configuration");
    let handler = By(
        |request: Request<Incoming>, peer: crate::transport::http::Peer| async move {
            assert!(peer.secure);
            let body = crate::message::stream::BodyStream::incoming(request.into_body(), None);
            answer(body.collect(1 << 24).await.expect("body"))
        },
    );
    Listener::with(handler, |settings| settings.tls = Some(tls))
}

fn client(tls: ClientTls) -> Client {
    Client::new(ClientSettings::new(
        client_config(tls).expect("client configuration"),
    ))
}

fn trusting(pem: &str) -> ClientTls {
    ClientTls {
        public_roots: false,
        extra_roots: vec![pem.as_bytes().to_vec()],
        ..ClientTls::default()
    }
}

fn target(host: &str, listener: &Listener) -> Target {
    Target::parse(&format!("https://{host}:{}/", listener.addr.port())).expect("target")
}

#[tokio::test]
async fn both_ways_with_a_self_signed_certificate() {
    let identity = Identity::self_signed(&[]).expect("certificate");
    let pem = identity.certificate_pem();
    let listener = listener(identity, &ClientCertificates::Ignored);
    let client = client(trusting(&pem));
    for host in ["127.0.0.1", "localhost"] {
        for size in [0, 5, 300_000] {
            let body = "x".repeat(size);
            let request = post(body.clone());
            let response = within(client.send(&target(host, &listener), request)).await;
            assert_eq!(text(response.expect("sent")).await, body);
        }
    }
    // One for each name, kept over the requests.
    assert_eq!(
        (client.open_connections(), client.idle_connections()),
        (2, 2)
    );
    assert_eq!(within(listener.shutdown.drained(super::FOREVER)).await, 0);
    until("closed", || client.open_connections() == 0).await;
}

#[tokio::test]
async fn certificates_are_checked() {
    let identity = Identity::self_signed(&[]).expect("certificate");
    let other = Identity::self_signed(&[])
        .expect("certificate")
        .certificate_pem();
    let own = identity.certificate_pem();
    let listener = listener(identity, &ClientCertificates::Ignored);
    let right_name = target("127.0.0.1", &listener);
    let error = within(client(trusting(&other)).send(&right_name, get()))
        .await
        .expect_err("unknown authority");
    assert_eq!(error.kind, SendErrorKind::Tls, "{}", error.detail);
    assert_eq!(error.kind.code(), 101_500);
    assert!(error.unsent.is_some());

    let any = client(ClientTls {
        verify: false,
        ..ClientTls::default()
    });
    for client in [client(trusting(&own)), any] {
        let response = within(client.send(&right_name, get())).await.expect("sent");
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn host_names_are_checked_unless_told_otherwise() {
    let key = rcgen::KeyPair::generate().expect("key");
    let certificate = rcgen::CertificateParams::new(vec!["only.example".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("certificate");
    let identity = Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    let listener = listener(identity.expect("identity"), &ClientCertificates::Ignored);
    let stranger = Identity::self_signed(&[])
        .expect("certificate")
        .certificate_pem();
    for (names, trusted, passes) in [
        (HostNames::Strict, true, false),
        (HostNames::StrictExceptLocalhost, true, true),
        (HostNames::Any, true, true),
        // A name that may be anything does not make up for a chain that leads nowhere.
        (HostNames::StrictExceptLocalhost, false, false),
        (HostNames::Any, false, false),
    ] {
        let root = if trusted {
            certificate.pem()
        } else {
            stranger.clone()
        };
        let client = client(ClientTls {
            names,
            ..trusting(&root)
        });
        for host in ["localhost", "127.0.0.1"] {
            let sent = within(client.send(&target(host, &listener), get())).await;
            let tls = sent.as_ref().err().map(|e| e.kind == SendErrorKind::Tls);
            assert_eq!(tls, (!passes).then_some(true), "{names:?} {trusted} {host}");
        }
    }
    for (name, allowed) in [
        ("localhost", true),
        ("127.9.9.9", true),
        ("only.example", false),
    ] {
        let name = ServerName::try_from(name).expect("name");
        assert_eq!(
            HostNames::StrictExceptLocalhost.allow_mismatch(&name),
            allowed
        );
    }
}

#[tokio::test]
async fn client_certificates() {
    let identity = Identity::self_signed(&[]).expect("certificate");
    let pem = identity.certificate_pem();
    let mine = Identity::self_signed(&[]).expect("certificate");
    let known = ClientCertificates::Required(mine.certificate_pem().into_bytes());
    let listener = listener(identity, &known);
    let target = target("localhost", &listener);
    let with = client(ClientTls {
        identity: Some(mine),
        ..trusting(&pem)
    });
    let response = within(with.send(&target, post("hello")))
        .await
        .expect("sent");
    assert_eq!(text(response).await, "hello");
    // With TLS 1.3 a client learns only afterwards that its certificate is missing.
    let without = client(trusting(&pem));
    assert!(within(without.send(&target, post("hello"))).await.is_err());
}

#[tokio::test]
async fn those_who_speak_no_tls() {
    let identity = Identity::self_signed(&[]).expect("certificate");
    let pem = identity.certificate_pem();
    let tls = server_config(identity, &ClientCertificates::Ignored).expect("configuration");
    let listener = Listener::with(super::echo(), |settings| {
        settings.tls = Some(tls);
        settings.handshake_timeout = std::time::Duration::from_millis(50);
    });
    let text = rest(raw(listener.addr, "GET / HTTP/1.1\r\n\r\n").await).await;
    assert!(!text.contains("HTTP/1.1"), "{text}");
    let mut silent = raw(listener.addr, "").await;
    assert_eq!(within(silent.read(&mut [0])).await.expect("end"), 0);
    until("closed", || listener.shutdown.connections() == 0).await;

    let plain = Listener::start(super::echo());
    let error = within(client(trusting(&pem)).send(&target("127.0.0.1", &plain), get()))
        .await
        .expect_err("no TLS there");
    assert_eq!(error.kind, SendErrorKind::Tls, "{}", error.detail);
    let client = Client::new(settings());
    let http = Target::parse(&format!("http://{}/", listener.addr)).expect("target");
    let error = within(client.send(&http, get()))
        .await
        .expect_err("TLS there");
    assert!(
        matches!(error.kind, SendErrorKind::Malformed | SendErrorKind::Closed),
        "{error}"
    );
}

#[test]
fn pem_files() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect("identity");
    // The same certificate, whoever wrote the lines.
    let lines = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(lines(&identity.certificate_pem()), lines(&chain));

    let folder = std::env::temp_dir().join(format!("myelin-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("folder");
    let (chain_file, key_file) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain_file, &chain).expect("write");
    std::fs::write(&key_file, &key).expect("write");
    let identity = Identity::from_files(&chain_file, &key_file).expect("identity");
    assert!(server_config(identity, &ClientCertificates::Ignored).is_ok());
    assert!(ClientTls::default().trust_file(&chain_file).is_ok());

    let missing = Identity::from_files(&folder.join("none"), &key_file);
    assert!(matches!(missing, Err(TlsError::File { .. })));
    let swapped = Identity::from_files(&key_file, &chain_file);
    assert!(matches!(swapped, Err(TlsError::Pem { .. })));
    let other = rcgen::KeyPair::generate().expect("key").serialize_pem();
    let unrelated = Identity::from_pem(chain.as_bytes(), other.as_bytes()).expect("identity");
    let refused = server_config(unrelated, &ClientCertificates::Ignored);
    assert!(matches!(refused, Err(TlsError::Config(_))));
    let no_bundle = ClientCertificates::Optional(b"nothing".to_vec());
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes()).expect("identity");
    assert!(matches!(
        server_config(identity, &no_bundle),
        Err(TlsError::Pem { .. })
    ));
    std::fs::remove_dir_all(&folder).expect("clean");
    let shared = client_config(ClientTls::default()).expect("public roots");
    assert_eq!(Arc::strong_count(&shared), 1);
}
