//! Tokens of an identity provider, which stands in this process: its description, its keys, a new key, the role.

use super::{ServedShop, json, problem};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

struct Provider {
    issuer: String,
    keys: Arc<Mutex<Vec<(String, Ed25519KeyPair)>>>,
}

fn key() -> Ed25519KeyPair {
    let bytes = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(bytes.as_ref()).unwrap()
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let keys = Arc::new(Mutex::new(vec![("first".to_owned(), key())]));
        let (at, known) = (issuer.clone(), keys.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                reader.read_line(&mut line).unwrap();
                let body = if line.contains("/.well-known/openid-configuration") {
                    json!({ "issuer": at, "jwks_uri": format!("{at}/keys") })
                } else {
                    let keys = known.lock().unwrap();
                    let keys: Vec<Value> = keys
                        .iter()
                        .map(|(id, k)| {
                            let x = b64(k.public_key().as_ref());
                            json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })
                        })
                        .collect();
                    json!({ "keys": keys })
                }
                .to_string();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
        });
        Self { issuer, keys }
    }

    fn token(&self, change: impl Fn(&mut Value)) -> String {
        let mut claims = json!({
            "iss": self.issuer, "aud": "tradewind", "sub": "person-7", "exp": now() + 600, "tradewind_role": "operator",
        });
        change(&mut claims);
        let keys = self.keys.lock().unwrap();
        let (id, key) = keys.last().unwrap();
        let header = json!({ "alg": "EdDSA", "kid": id });
        let text = format!("{}.{}", b64(header.to_string().as_bytes()), b64(claims.to_string().as_bytes()));
        let signature = b64(key.sign(text.as_bytes()).as_ref());
        format!("{text}.{signature}")
    }
}

#[test]
fn tokens_of_the_named_provider_are_taken_beside_keys() {
    let provider = Provider::start();
    let mut shop = ServedShop::new(&format!("[serve]\noidc_issuer = \"{}\"\n", provider.issuer));
    let key = shop.key("viewer", &[]);
    let mut server = shop.serve();
    let ask = |server: &super::Served, token: &str| server.get("/v1/me", token).send().unwrap();
    let good = provider.token(|_| ());
    // The keys are fetched beside the start.
    let begun = std::time::Instant::now();
    while ask(&server, &good).status() == 503 && begun.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let me = json(ask(&server, &good));
    assert_eq!((&me["id"], &me["role"]), (&json!("user:person-7"), &json!("operator")));
    server.note_secret(good.rsplit('.').next().unwrap());
    json(ask(&server, &key));
    // An operator changes what runs and does not make keys.
    problem(server.post("/v1/keys", &good, r#"{"name": "x", "role": "viewer"}"#), 403, "denied");

    for change in [
        (|c: &mut Value| c["aud"] = json!("another")) as fn(&mut Value),
        |c| c["iss"] = json!("https://elsewhere.example.com"),
        |c| c["exp"] = json!(now() - 600),
        |c| c["exp"] = json!("never"),
    ] {
        problem(ask(&server, &provider.token(change)), 401, "unauthorized");
    }
    problem(ask(&server, &provider.token(|c| c["tradewind_role"] = json!("owner"))), 403, "denied");
    let (head, _) = good.rsplit_once('.').unwrap();
    problem(ask(&server, &format!("{head}.{}", b64(&[7; 64]))), 401, "unauthorized");
    problem(ask(&server, &format!("{}..", b64(br#"{"alg":"none"}"#))), 401, "unauthorized");

    // A token by a new key has the keys fetched again, but not at once: anybody can make such tokens.
    provider.keys.lock().unwrap().push(("second".to_owned(), self::key()));
    let newer = provider.token(|_| ());
    let answer = ask(&server, &newer);
    assert!([200, 401].contains(&answer.status().as_u16()), "{}", answer.status());
}

#[test]
fn a_provider_that_would_be_asked_in_the_open_is_refused() {
    let shop = ServedShop::new("[serve]\noidc_issuer = \"http://id.example.com\"\n");
    let out = super::command(shop.path(), &["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && told.contains("HTTPS") && told.contains("oidc_issuer"), "{told}");
}
