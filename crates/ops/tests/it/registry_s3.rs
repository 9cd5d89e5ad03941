//! The registry over S3: against the server of moto (`pip install "moto[server,s3]"`), if `moto_server` is on the path or
//! named by `TRADEWIND_TEST_MOTO`; and against servers that refuse or are away.

use crate::databases;
use crate::registry::{artifact, assert_sound, new};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::registry::{Registry, Store};
use tradewind_ops::{Clock, Database, Error};

const ACCESS: &str = "AKIAEXAMPLE";
const SECRET: &str = "sEcReT-of-the-test";

/// A server with an empty bucket `models`; it ends when this value goes.
struct Server {
    process: Child,
    endpoint: String,
}

impl Server {
    fn start() -> Option<Self> {
        let address = free_address();
        let program = std::env::var_os("TRADEWIND_TEST_MOTO").unwrap_or_else(|| "moto_server".into());
        let started = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(e) => {
                eprintln!("skipped: no S3-compatible server (moto_server): {e}");
                return None;
            }
        };
        let server = Self { process, endpoint: format!("http://{address}") };
        let began = Instant::now();
        while !make_bucket(address) {
            assert!(began.elapsed() < Duration::from_secs(60), "moto_server does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Buckets are not the store's to make. False: the server does not answer yet.
fn make_bucket(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let host = format!("Host: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("PUT /models HTTP/1.1\r\n{host}").as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.starts_with("HTTP/1.1 200")
}

fn variables(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", ACCESS),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ALLOW_HTTP", "true"),
    ]
    .iter()
    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_versions_in_a_bucket() {
    let Some(server) = Server::start() else { return };
    let bucket = AmazonS3Builder::new()
        .with_endpoint(&server.endpoint)
        .with_allow_http(true)
        .with_bucket_name("models")
        .with_access_key_id(ACCESS)
        .with_secret_access_key(SECRET)
        .build()
        .unwrap();
    for (n, fresh) in databases::every().await.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(&format!("s3://models/shop/{n}"), variables(&server.endpoint)).unwrap();
        let database = Database::open(&fresh.url, Clock::at(1)).await.unwrap();
        let registry = Registry::open(database, store).await.unwrap().with_cache(dir.path().join("cache"));

        let folder = artifact(dir.path(), "a");
        // Larger than one part.
        let weights: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
        fs::write(folder.join("weights.bin"), &weights).unwrap();
        let version = registry.register(new("weekly"), &folder).await.unwrap();
        assert!(fs::read(registry.fetch(&version).await.unwrap().join("weights.bin")).unwrap() == weights);
        assert_sound(&registry).await;

        let prefix = object_store::path::Path::from(format!("shop/{n}"));
        let listed = bucket.list_with_delimiter(Some(&prefix.clone().join("blobs"))).await.unwrap();
        assert_eq!(listed.common_prefixes.len(), 3);
        let hash = &version.manifest.files[0].blake3;
        let shelf = prefix.clone().join("blobs").join(&hash[..2]);
        let kept = bucket.list_with_delimiter(Some(&shelf)).await.unwrap().objects.remove(0).location;
        bucket.put(&kept, PutPayload::from_static(b"[1,2,4]")).await.unwrap();
        fs::remove_dir_all(dir.path().join("cache")).unwrap();
        let fault = registry.fetch(&version).await.unwrap_err();
        assert!(matches!(&fault, Error::Corrupt { file, .. } if file == "shared.json"), "{fault}");
        registry.register(new("weekly"), &folder).await.unwrap();
        registry.fetch(&version).await.unwrap();
        assert_sound(&registry).await;

        // What nobody names goes from the bucket as well.
        let sql = "UPDATE registry_blobs SET refs = 0";
        sqlx::query(sql).execute(registry.database().pool()).await.unwrap();
        assert_eq!(registry.collect_garbage(Duration::ZERO).await.unwrap().files, 3);
        assert!(bucket.head(&kept).await.is_err());
    }
}

/// Answers every request with a refusal that repeats the key, as stores do.
fn refusing(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let body = format!(
                "<Error><AWSAccessKeyId>{ACCESS}</AWSAccessKeyId><StringToSign>{SECRET}</StringToSign></Error>"
            );
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_or_is_away_tells_no_secret() {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let database = Database::open(&fresh.url, Clock::at(1)).await.unwrap();
    let folder = artifact(dir.path(), "a");
    let cases = [
        ("403", refusing("403 Forbidden")),
        ("401", refusing("401 Unauthorized")),
        ("400", refusing("400 Bad Request")),
        ("away", format!("http://{}", free_address())),
    ];
    for (case, endpoint) in cases {
        let store = Store::open_with("s3://models/x", variables(&endpoint)).unwrap();
        let registry = Registry::open(database.clone(), store).await.unwrap();
        let fault = registry.register(new("weekly"), &folder).await.unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::Unavailable, "{case}: {fault}");
        let text = format!("{fault} {fault:?} {:?}", fault.hint());
        assert!(!text.contains(SECRET) && !text.contains(ACCESS), "{case}: {text}");
        assert!(text.contains("s3://models/x"), "{case}: {text}");
    }
}

#[test]
fn addresses_that_are_no_place_are_refused() {
    let mut plain = variables("http://minio.shop:9000");
    plain.retain(|(name, _)| name != "AWS_ALLOW_HTTP");
    let fault = Store::open_with("s3://models/x", plain).unwrap_err();
    assert!(fault.hint().unwrap().contains("AWS_ALLOW_HTTP"));
    for url in ["", "s3://", "s3://me:pw@host/x", "ftp://me:pw@host/x", "https://bucket.s3.amazonaws.com"] {
        let fault = Store::open_with(url, variables("https://host")).unwrap_err();
        assert_eq!(fault.kind(), ErrorKind::InvalidParams, "{url}");
        assert!(!fault.to_string().contains("pw"), "{fault}");
    }
}
