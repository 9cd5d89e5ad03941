//! Where alerts go beside the log.

use crate::error::{Error, Result};
use crate::operations::said;
use futures::future::BoxFuture;
use lettre::message::{Mailbox, Mailboxes, header::ContentType};
use lettre::{SmtpTransport, Transport};
use std::time::Duration;
use tradewind_ops::monitor::alerts::{Message, Sink, mail, webhook_body};
use tradewind_warehouse::settings::MonitorSettings;

/// The sink's name.
pub(super) const WEBHOOK: &str = "webhook";
/// The other one's.
pub(super) const MAIL: &str = "mail";
const TIME_MAX: Duration = Duration::from_secs(20);

/// A message as a POST of JSON: `text` for chats, `alerts` for machines. The address may hold a secret and is never told.
pub struct Webhook {
    client: reqwest::Client,
    url: reqwest::Url,
    chinese: bool,
}

impl Webhook {
    /// The webhook of the settings; none where they name none.
    ///
    /// # Errors
    /// An environment variable that is not set, something that is no http or https address.
    pub fn of(settings: &MonitorSettings, chinese: bool) -> Result<Option<Self>> {
        let address = said("[monitor] webhook", &settings.webhook, "https://chat.example.com/hooks/…")?;
        let Some(address) = address else { return Ok(None) };
        let url = reqwest::Url::parse(&address).ok().filter(|u| matches!(u.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| {
            Error::asked(
                "[monitor] webhook is no web address",
                "give one, as https://chat.example.com/hooks/…",
            )
        })?;
        let client = reqwest::Client::builder()
            .timeout(TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| {
                Error::asked(format!("no client for the webhook: {}", e.without_url()), "try again")
            })?;
        Ok(Some(Self { client, url, chinese }))
    }
}

impl Sink for Webhook {
    fn name(&self) -> &str {
        WEBHOOK
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, std::result::Result<(), String>> {
        Box::pin(async move {
            let sent = self.client.post(self.url.clone()).json(&webhook_body(message, self.chinese)).send();
            let answer = sent.await.map_err(|e| e.without_url().to_string())?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("the webhook answered {status}")),
            }
        })
    }
}

/// A message as a mail of plain text. The server's address may hold a password and is never told, nor are the people's.
pub struct Post {
    transport: SmtpTransport,
    from: Mailbox,
    to: Vec<Mailbox>,
    chinese: bool,
}

impl Post {
    /// The mail of the settings; none where they name no server.
    ///
    /// # Errors
    /// An environment variable that is not set, something that is no address of a mail server or of a person.
    pub fn of(settings: &MonitorSettings, chinese: bool) -> Result<Option<Self>> {
        let example = "smtps://user:password@mail.example.com:465";
        let Some(server) = said("[monitor] mail_server", &settings.mail_server, example)? else {
            return Ok(None);
        };
        let builder = SmtpTransport::from_url(&server).map_err(|_| {
            Error::asked(
                "[monitor] mail_server is no address of a mail server",
                format!("give one, as {example}"),
            )
        })?;
        let wrong = |key: &str| {
            Error::asked(
                format!("[monitor] {key} holds no address of e-mail"),
                "write it as \"Tradewind <tradewind@example.com>\"; several with commas between them",
            )
        };
        let from = settings.mail_from.parse().map_err(|_| wrong("mail_from"))?;
        let to: Mailboxes = settings.mail_to.parse().map_err(|_| wrong("mail_to"))?;
        let to: Vec<Mailbox> = to.into_iter().collect();
        if to.is_empty() {
            return Err(wrong("mail_to"));
        }
        Ok(Some(Self { transport: builder.timeout(Some(TIME_MAX)).build(), from, to, chinese }))
    }
}

impl Sink for Post {
    fn name(&self) -> &str {
        MAIL
    }

    fn deliver<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, std::result::Result<(), String>> {
        Box::pin(async move {
            let told = mail(message, self.chinese);
            let mut letter = lettre::Message::builder()
                .from(self.from.clone())
                .subject(told.subject)
                // The same message tried again is the same mail to whoever reads it.
                .message_id(Some(format!("<{}@tradewind>", message.id)))
                .header(ContentType::TEXT_PLAIN);
            for person in &self.to {
                letter = letter.to(person.clone());
            }
            let letter = letter.body(told.text).map_err(|_| "the mail cannot be written".to_owned())?;
            let transport = self.transport.clone();
            let sent = tokio::task::spawn_blocking(move || transport.send(&letter)).await;
            match sent {
                Ok(Ok(_)) => Ok(()),
                // What a server says may repeat addresses: its code alone is told.
                Ok(Err(e)) => Err(match e.status() {
                    Some(code) => format!("the mail server answered {code}"),
                    None if e.is_timeout() => "the mail server did not answer in time".to_owned(),
                    None if e.is_tls() => "the mail server's certificate or TLS is not accepted".to_owned(),
                    None => "the mail server cannot be reached".to_owned(),
                }),
                Err(_) => Err("the mail was broken off".to_owned()),
            }
        })
    }
}
