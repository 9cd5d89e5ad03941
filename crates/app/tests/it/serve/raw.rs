//! Bytes that no proper client sends: the server refuses them, answers once, and goes on.

use super::{ServedShop, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

fn status(text: &str) -> Option<u16> {
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[test]
fn requests_that_two_readers_would_read_differently_are_not_read_twice() {
    let mut shop = ServedShop::new("");
    let key = shop.key("admin", &[]);
    let server = shop.serve();
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: shop\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    );
    let hidden = "GET /livez HTTP/1.1\r\nHost: shop\r\n\r\n";
    for (what, request) in [
        ("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: 40\r\n\r\n{{}}{hidden}")),
        ("a length that is none", format!("{head}Content-Length: 2x\r\n\r\n{{}}{hidden}")),
        ("a negative length", format!("{head}Content-Length: -2\r\n\r\n{{}}{hidden}")),
        ("a length with a sign", format!("{head}Content-Length: +2\r\n\r\n{{}}{hidden}")),
        (
            "an unknown coding",
            format!("{head}Transfer-Encoding: xchunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunked not last",
            format!("{head}Transfer-Encoding: chunked, gzip\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        ("a blank before the colon", format!("{head}Content-Length : 2\r\n\r\n{{}}{hidden}")),
        ("a folded line", format!("{head}X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{{}}{hidden}")),
        (
            "a chunk size that is none",
            format!("{head}Transfer-Encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a length beside chunks",
            format!("{head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
    ] {
        let told = server.raw(request.as_bytes());
        assert!(answers(&told) <= 1, "{what}: the hidden request was answered\n{told}");
        assert!(status(&told).is_none_or(|s| (400..500).contains(&s)), "{what}: {told}");
    }
    for (what, request) in [
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("an unknown version", b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n".to_vec()),
        ("a NUL in a header", b"GET /livez HTTP/1.1\r\nHost: a\r\nX-A: a\0b\r\n\r\n".to_vec()),
        (
            "a lone return in a header",
            b"GET /livez HTTP/1.1\r\nHost: a\r\nX-A: a\rSet-Cookie: b\r\n\r\n".to_vec(),
        ),
        ("a blank in the address", b"GET /livez x HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        (
            "too many headers",
            [b"GET /livez HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(150), b"\r\n".to_vec()].concat(),
        ),
        ("an endless head", [b"GET /livez HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 200_000]].concat()),
        (
            "an endless address",
            [b"GET /".to_vec(), vec![b'a'; 100_000], b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
        ),
    ] {
        let told = server.raw(&request);
        assert!(status(&told).is_none_or(|s| (400..506).contains(&s)), "{what}: {told}");
        assert!(answers(&told) <= 1, "{what}: {told}");
        assert!(!told.to_lowercase().contains("set-cookie"), "{what}: {told}");
    }
    json(server.get("/v1/me", &key).send().unwrap());
}

#[test]
fn nothing_climbs_out_and_nothing_is_put_into_headers() {
    let mut shop = ServedShop::new("");
    let key = shop.key("admin", &[]);
    let server = shop.serve();
    for path in [
        "/v1/keys/../../../etc/passwd",
        "/v1/keys/..%2f..%2f..%2fetc%2fpasswd",
        "/v1/keys/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cwindows%5cwin.ini",
        "//etc/passwd",
        "/docs/../../tradewind.toml",
        "/v1/keys/%0d%0aSet-Cookie:%20a=b",
        "/v1/keys/%00",
        "/v1/keys/%ff%fe",
        "/v1/keys/%",
        "/v1/keys/%zz",
        "/v1/audit?actor=%0d%0aSet-Cookie:%20a=b",
        "http://elsewhere/v1/keys/x",
        "*",
    ] {
        let told = server.raw(
            format!("GET {path} HTTP/1.1\r\nHost: shop\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        );
        let code = status(&told).unwrap_or_else(|| panic!("{path}: {told}"));
        assert!((200..500).contains(&code), "{path}: {told}");
        assert!(code >= 400 || path.starts_with("/v1/audit"), "{path}: {told}");
        assert!(!told.contains("root:") && !told.contains("[shop]"), "{path}: {told}");
        assert!(!told.lines().any(|l| l.to_lowercase().starts_with("set-cookie")), "{path}: {told}");
    }
    let told = server.raw(
        format!("GET /v1/me HTTP/1.1\r\nHost: shop\r\nX-API-Key: {key}\r\nX-Request-Id: a\u{85}b\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    );
    assert!(told.starts_with("HTTP/1.1 200") && !told.contains('\u{85}'), "{told}");
}

#[test]
fn a_body_that_never_ends_is_cut_off() {
    let mut shop = ServedShop::new("[serve]\nbody_kib_max = 64\nseconds_max = 2\n");
    let key = shop.key("admin", &[]);
    let server = shop.serve();
    let head = format!(
        "POST /v1/keys HTTP/1.1\r\nHost: shop\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
    );
    // Larger than allowed without saying so beforehand.
    let mut stream = TcpStream::connect(server.at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(4_096));
    let mut sent = 0;
    while sent < 4 << 20 && stream.write_all(chunk.as_bytes()).is_ok() {
        sent += 4_096;
    }
    let mut told = vec![0; 1_024];
    let n = stream.read(&mut told).unwrap_or(0);
    let told = String::from_utf8_lossy(&told[..n]).into_owned();
    // The connection may be reset before the answer is read; if it is read it says why.
    assert!(told.is_empty() || told.starts_with("HTTP/1.1 413"), "{told}");
    assert!(!told.is_empty() || sent < 4 << 20, "all of it was taken");
    // Slower than allowed.
    let begun = Instant::now();
    let told = {
        let mut stream = TcpStream::connect(server.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(format!("{head}Content-Length: 100\r\n\r\n{{").as_bytes()).unwrap();
        let mut told = vec![0; 1_024];
        let n = stream.read(&mut told).unwrap();
        String::from_utf8_lossy(&told[..n]).into_owned()
    };
    assert!(told.starts_with("HTTP/1.1 504"), "{told}");
    assert!((1..8).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    json(server.get("/v1/me", &key).send().unwrap());
}
