//! `tradewind serve` as callers meet it: the real binary on a free port. Whatever a test does, the log of its server holds
//! none of the secrets it used.

mod answers;
mod doors;
mod end;
mod experiments;
mod identity;
mod manners;
mod raw;
mod shop;
mod traces;

use super::{command, ok};
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tradewind::Run;
use tradewind::demo::{self, DemoSettings};

/// A shop without data.
struct ServedShop {
    dir: TempDir,
    secrets: Vec<String>,
}

impl ServedShop {
    fn new(settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        ok(dir.path(), &["init", "shop"]);
        std::fs::write(dir.path().join("shop/tradewind.toml"), settings).unwrap();
        Self { dir, secrets: Vec::new() }
    }

    /// The simulated shop, with few products and without models.
    fn simulated() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = DemoSettings { n_products: 12, days: 430, ..DemoSettings::default() };
        demo::make(&Run::new(5), &dir.path().join("shop"), &settings).unwrap();
        Self { dir, secrets: Vec::new() }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A key made on the command line.
    fn key(&mut self, role: &str, more: &[&str]) -> String {
        let mut args = vec!["keys", "create", "--role", role];
        args.extend(more);
        let secret = ok(self.path(), &args).trim().to_owned();
        assert!(secret.starts_with("tw_"), "{secret}");
        self.secrets.push(secret.clone());
        secret
    }

    fn serve(&mut self) -> Served {
        self.serve_with(&[])
    }

    fn serve_with(&mut self, environment: &[(&str, &str)]) -> Served {
        self.serve_as(&[], environment)
    }

    fn serve_as(&mut self, more: &[&str], environment: &[(&str, &str)]) -> Served {
        let log = self.path().join(format!("log-{}.txt", self.secrets.len()));
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--json"];
        args.extend(more);
        let mut c = command(self.path(), &args);
        c.envs(environment.iter().copied());
        let mut child =
            c.stdout(Stdio::piped()).stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line)
            .unwrap_or_else(|e| panic!("{e}: {line:?}; {}", std::fs::read_to_string(&log).unwrap()));
        let at = told["listening"].as_str().unwrap().parse().unwrap();
        let url = told["url"].as_str().unwrap().to_owned();
        let client =
            Client::builder().no_proxy().timeout(Duration::from_secs(60)).gzip(false).build().unwrap();
        Served { child, at, url, told, log, client, secrets: self.secrets.clone() }
    }
}

/// A server under test.
struct Served {
    child: Child,
    at: SocketAddr,
    url: String,
    told: Value,
    log: std::path::PathBuf,
    client: Client,
    secrets: Vec<String>,
}

impl Served {
    fn get(&self, path: &str, key: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(key)
    }

    fn post(&self, path: &str, key: &str, body: &str) -> Response {
        self.client
            .post(format!("{}{path}", self.url))
            .bearer_auth(key)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .unwrap()
    }

    fn delete(&self, path: &str, key: &str) -> Response {
        self.client.delete(format!("{}{path}", self.url)).bearer_auth(key).send().unwrap()
    }

    /// A secret that the server told; the log must not hold it.
    fn note_secret(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end of the process.
    fn wait(&mut self, at_most: Duration) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < at_most {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server goes on after {at_most:?}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends bytes as they are and reads until the server closes or falls silent.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
        // A server that refuses early may close before all is sent.
        let _ = stream.write_all(bytes);
        let mut out = Vec::new();
        let mut buffer = [0_u8; 4_096];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", self.log());
            return;
        }
        let log = self.log();
        for secret in &self.secrets {
            let part = secret.rsplit('_').next().unwrap();
            assert!(!log.contains(part), "the log holds a secret");
        }
        assert!(!log.contains("a fault of ours"), "{log}");
    }
}

/// A problem, checked to be one.
fn problem(response: Response, status: u16, code: &str) -> Value {
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let got = response.status().as_u16();
    let text = response.text().unwrap();
    assert_eq!(got, status, "{text}");
    assert_eq!(media_type, "application/problem+json", "{text}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["code"], code, "{text}");
    assert_eq!(problem["type"], format!("urn:tradewind:problem:{code}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], id.as_str());
    problem
}

fn json(response: Response) -> Value {
    let status = response.status();
    let text = response.text().unwrap();
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}
