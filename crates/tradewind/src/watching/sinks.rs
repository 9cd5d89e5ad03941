//! Where alerts go beside the log.

use crate::error::{Error, Result};
use crate::operations::said;
use futures::future::BoxFuture;
use std::time::Duration;
use tradewind_ops::monitor::alerts::{Message, Sink, webhook_body};
use tradewind_warehouse::settings::MonitorSettings;

/// The sink's name.
pub(super) const WEBHOOK: &str = "webhook";
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
