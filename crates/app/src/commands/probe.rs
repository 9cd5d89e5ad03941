//! `tradewind probe`: does a server answer? For images that hold nothing but this program, where no `curl` could ask.

use crate::Context;
use crate::args::ProbeArgs;
use crate::cause::innermost;
use crate::exit::Exit;
use serde_json::json;
use std::time::Duration;
use tradewind::{Error, Result};

pub(crate) fn run(context: &Context, args: &ProbeArgs) -> Result<Exit> {
    let url = reqwest::Url::parse(&args.url)
        .ok()
        .filter(|u| {
            matches!(u.scheme(), "http" | "https") && u.username().is_empty() && u.password().is_none()
        })
        .ok_or_else(|| {
            Error::asked(
                "what is to be probed is no address",
                "write it as http://127.0.0.1:8080/readyz, without a user and password",
            )
        })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::file("the runtime of the probe", e))?;
    let answer = runtime.block_on(status(url, Duration::from_secs(args.timeout_seconds), args.insecure));
    // A look-up of a name that still hangs is not waited for.
    runtime.shutdown_background();
    let p = &context.printer;
    let ready = matches!(answer, Ok(200..=299));
    p.json(&json!({ "url": args.url, "status": answer.as_ref().ok(), "ready": ready }));
    match answer {
        Ok(code) => p.line(format!("{} {code}", args.url)),
        Err(why) => {
            p.error(
                &format!("{}: {why}", args.url),
                Some(p.lang.pick(
                    "see whether the server runs and listens there",
                    "请检查服务器是否在运行并监听该地址",
                )),
            )
        }
    }
    Ok(if ready { Exit::Success } else { Exit::User })
}

/// The status the server answers with, within `timeout` from start to end, or why there was none.
async fn status(url: reqwest::Url, timeout: Duration, insecure: bool) -> std::result::Result<u16, String> {
    let asked = async {
        reqwest::Client::builder()
            // What answers is to be this server, not what it or the environment points to.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .danger_accept_invalid_certs(insecure)
            .build()?
            .get(url)
            .header("user-agent", "tradewind-probe")
            .send()
            .await
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(Ok(answer)) => Ok(answer.status().as_u16()),
        Ok(Err(e)) => Err(innermost(&e.without_url())),
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    /// Answers one connection with the pieces, one after the other.
    fn serve(pieces: &'static [&'static [u8]], pause: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let _ = stream.read(&mut request);
            for piece in pieces {
                if stream.write_all(piece).is_err() {
                    return;
                }
                std::thread::sleep(pause);
            }
        });
        url
    }

    fn asked(url: &str, seconds: u64) -> std::result::Result<u16, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(status(url.parse().unwrap(), Duration::from_secs(seconds), false))
    }

    #[test]
    fn answers_are_told_as_they_are() {
        let pieces: &[&[u8]] = &[b"HTTP", b"/1.1 20", b"4 No Content\r\n", b"\r\n"];
        assert_eq!(asked(&serve(pieces, Duration::from_millis(5)), 5), Ok(204));
        let unavailable: &[&[u8]] = &[b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"];
        assert_eq!(asked(&serve(unavailable, Duration::ZERO), 5), Ok(503));
        // Where it points to is not followed: the server itself is asked for.
        let moved: &[&[u8]] =
            &[b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n"];
        assert_eq!(asked(&serve(moved, Duration::ZERO), 5), Ok(302));
        assert!(asked(&serve(&[b"SSH-2.0-other\r\n"], Duration::ZERO), 5).is_err());
    }

    #[test]
    fn a_server_that_drips_does_not_hold_the_probe() {
        const DROP: &[u8] = b"H";
        let pieces = &[DROP; 64];
        let began = Instant::now();
        let told = asked(&serve(pieces, Duration::from_millis(200)), 1).unwrap_err();
        assert!(told.contains("within 1 s") || told.contains("invalid"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
