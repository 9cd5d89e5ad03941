//! The server's end, its certificate, and its manners on the command line.

use super::{Served, ServedShop, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn half_a_request(server: &Served, key: &str) -> (TcpStream, &'static str) {
    let body = r#"{"name": "late", "role": "viewer"}"#;
    let mut stream = TcpStream::connect(server.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: shop\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
        body.len(),
        &body[..10]
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Until the server has begun with it.
    std::thread::sleep(Duration::from_millis(300));
    (stream, &body[10..])
}

#[test]
fn what_is_under_way_ends_well_after_a_signal() {
    let mut shop = ServedShop::new("[serve]\ndrain_notice_seconds = 1\ndrain_seconds = 20\n");
    let key = shop.key("admin", &[]);
    let mut server = shop.serve();
    json(server.get("/v1/me", &key).send().unwrap());
    let (mut stream, rest) = half_a_request(&server, &key);
    server.signal("-TERM");
    let begun = Instant::now();
    let ready = || {
        let fresh = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        fresh.get(format!("{}/readyz", server.url)).send().map(|r| r.status().as_u16())
    };
    let mut said_no = false;
    let closed = loop {
        match ready() {
            Ok(503) => said_no = true,
            Ok(_) => {}
            Err(_) => break begun.elapsed(),
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the address is still taken");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(said_no, "readiness said yes until the end");
    assert!(closed >= Duration::from_millis(800), "closed after {closed:?}: without notice");
    stream.write_all(rest.as_bytes()).unwrap();
    let mut told = String::new();
    stream.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 201"), "{told}");
    let secret = told.split("\"secret\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    server.note_secret(&secret);
    assert_eq!(server.wait(Duration::from_secs(10)), Some(0));
}

#[test]
fn what_does_not_end_is_ended() {
    let mut shop = ServedShop::new("[serve]\ndrain_notice_seconds = 0\ndrain_seconds = 1\n");
    let key = shop.key("admin", &[]);
    let mut server = shop.serve();
    let (_stream, _) = half_a_request(&server, &key);
    let begun = Instant::now();
    server.signal("-INT");
    assert_eq!(server.wait(Duration::from_secs(10)), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[test]
fn a_second_signal_does_not_wait() {
    let mut shop = ServedShop::new("[serve]\ndrain_notice_seconds = 0\ndrain_seconds = 60\n");
    let key = shop.key("admin", &[]);
    let mut server = shop.serve();
    let (_stream, _) = half_a_request(&server, &key);
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(300));
    server.signal("-TERM");
    assert_eq!(server.wait(Duration::from_secs(5)), Some(0));
}

/// A certificate of its own making for 127.0.0.1, written into the shop.
fn certificate(shop: &ServedShop) -> reqwest::Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let pem = made.cert.pem();
    std::fs::write(shop.path().join("shop/cert.pem"), &pem).unwrap();
    std::fs::write(shop.path().join("shop/key.pem"), made.signing_key.serialize_pem()).unwrap();
    reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()
}

#[test]
fn https_with_a_certificate_that_is_read_again() {
    let mut shop = ServedShop::new("[serve]\ntls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\n");
    let key = shop.key("viewer", &[]);
    let first = certificate(&shop);
    let mut server = shop.serve();
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);
    let trusting = |certificate: &reqwest::Certificate| {
        reqwest::blocking::Client::builder()
            .no_proxy()
            .tls_built_in_root_certs(false)
            .add_root_certificate(certificate.clone())
            .build()
            .unwrap()
    };
    server.client = trusting(&first);
    let me = server.get("/v1/me", &key).send().unwrap();
    assert!(me.headers()["strict-transport-security"].to_str().unwrap().starts_with("max-age="));
    json(me);
    let plain = server.raw(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!plain.contains("200 OK"), "{plain}");

    // Files that do not belong together: the old certificate goes on.
    std::fs::write(shop.path().join("shop/key.pem"), "no key").unwrap();
    server.signal("-HUP");
    std::thread::sleep(Duration::from_millis(300));
    server.client = trusting(&first);
    json(server.get("/v1/me", &key).send().unwrap());

    let second = certificate(&shop);
    server.signal("-HUP");
    let begun = Instant::now();
    loop {
        server.client = trusting(&second);
        if server.get("/v1/me", &key).send().is_ok() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "the new certificate is not used");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.client = trusting(&first);
    assert!(server.get("/v1/me", &key).send().is_err(), "the old one is still used");
    assert!(server.log().contains("cannot be used"), "{}", server.log());
}

#[test]
fn mistakes_of_the_command_line_end_with_1() {
    let shop = ServedShop::new("[serve]\ntls_certificate = \"cert.pem\"\n");
    let d = shop.path();
    let e = super::super::fails(d, 1, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(e.contains("tls_key"), "{e}");
    std::fs::write(d.join("shop/tradewind.toml"), "[serve]\ntls_certificate = \"a\"\ntls_key = \"b\"\n")
        .unwrap();
    let e = super::super::fails(d, 1, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(e.contains("cannot be used"), "{e}");
    std::fs::write(d.join("shop/tradewind.toml"), "").unwrap();
    let e = super::super::fails(d, 1, &["serve", "--listen", "nowhere"]);
    assert!(e.contains("nowhere") && e.contains("hint"), "{e}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let e = super::super::fails(d, 1, &["serve", "--listen", &address]);
    assert!(e.contains(&address), "{e}");
    std::fs::write(d.join("shop/tradewind.toml"), "[ops]\nstate = \"oracle://a:secret@b/c\"\n").unwrap();
    let e = super::super::fails(d, 1, &["keys", "list"]);
    assert!(e.contains("oracle://b/c") && !e.contains("secret"), "{e}");
}

#[test]
fn keys_and_the_log_of_changes_on_the_command_line() {
    let mut shop = ServedShop::new("");
    let key = shop.key("admin", &["--name", "first", "--days", "30"]);
    let d = shop.path().to_owned();
    let list = super::ok(&d, &["keys", "list"]);
    assert!(list.contains("first") && list.contains(&key[3..15]) && !list.contains(&key[16..]), "{list}");
    let json: serde_json::Value = serde_json::from_str(&super::ok(&d, &["keys", "list", "--json"])).unwrap();
    assert_eq!((json[0]["state"].as_str(), json[0]["role"].as_str()), (Some("active"), Some("admin")));
    super::ok(&d, &["keys", "rotate", &key[3..15], "--overlap-hours", "1"]);
    super::ok(&d, &["keys", "revoke", &key[3..15]]);
    let e = super::super::fails(&d, 1, &["keys", "create", "--role", "viewer", "--scopes", "everything"]);
    assert!(e.contains("everything") && e.contains("recommendations"), "{e}");
    let e = super::super::fails(&d, 1, &["keys", "revoke", "nosuchkey"]);
    assert!(e.contains("nosuchkey"), "{e}");
    let log: serde_json::Value = serde_json::from_str(&super::ok(&d, &["audit", "list", "--json"])).unwrap();
    let actions: Vec<&str> = log.as_array().unwrap().iter().map(|r| r["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["keys.revoke", "keys.rotate", "keys.create"]);
    assert!(log[0]["actor"].as_str().unwrap().starts_with("local:"));
    assert!(super::ok(&d, &["--lang", "zh", "audit", "verify"]).contains("审计日志完整"));
    let head = super::ok(&d, &["audit", "verify"]);
    let head = head.lines().find_map(|l| l.strip_prefix("head ")).unwrap().to_owned();
    let other = head.replacen("3:", "3:0", 1);
    let e = super::super::fails(&d, 1, &["audit", "verify", "--head", &other[..head.len()]]);
    assert!(e.is_empty(), "{e}");
}
