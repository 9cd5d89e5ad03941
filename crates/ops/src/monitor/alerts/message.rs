//! What is told: lines of a group in one message, as text, as mail, as the body of a webhook.

use super::{Rule, Severity, Signal};
use serde::{Deserialize, Serialize};

/// What a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// It began.
    Firing,
    /// It is still on.
    Still,
    /// It is over.
    Resolved,
}

/// One alert in a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What is told.
    pub kind: LineKind,
    /// The rule.
    pub rule: String,
    /// What it is about.
    pub subject: String,
    /// How bad it is.
    pub severity: Severity,
    /// The value.
    pub value: f64,
    /// What the rule says, English.
    pub text: String,
    /// What the rule says, Chinese.
    pub text_zh: String,
    /// What the signal said beside.
    pub details: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Line {
    pub(super) fn new(kind: LineKind, rule: &Rule, signal: &Signal, at_ms: i64) -> Self {
        let or_name = |text: &str| if text.is_empty() { rule.name.clone() } else { text.to_owned() };
        Self {
            kind,
            rule: rule.name.clone(),
            subject: signal.subject.clone(),
            severity: rule.severity,
            value: signal.value,
            text: or_name(&rule.text),
            text_zh: or_name(if rule.text_zh.is_empty() { &rule.text } else { &rule.text_zh }),
            details: signal.details.clone(),
            at_ms,
        }
    }
}

/// All that a group has to tell at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Its id: who gets it twice sees that it is one.
    pub id: String,
    /// The group.
    pub group: String,
    /// The lines, the worst first.
    pub lines: Vec<Line>,
    /// When it was put together, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Lines that a mail shows; the others are counted.
const LINES_SHOWN: usize = 50;

impl Message {
    /// The worst that it tells of what began or is on.
    pub fn severity(&self) -> Severity {
        let on = self.lines.iter().filter(|l| l.kind != LineKind::Resolved);
        on.map(|l| l.severity).max().unwrap_or(Severity::Info)
    }

    /// One line that says what it is.
    pub fn title(&self, chinese: bool) -> String {
        let on = self.lines.iter().filter(|l| l.kind != LineKind::Resolved).count();
        let over = self.lines.len() - on;
        let (en, zh) = self.severity().words();
        if chinese {
            format!("[{zh}] {}：{on} 条告警进行中，{over} 条已恢复", self.group)
        } else {
            format!("[{en}] {}: {on} alerts on, {over} over", self.group)
        }
    }

    /// All of it as plain text.
    pub fn text(&self, chinese: bool) -> String {
        let mut out = self.title(chinese);
        for line in self.lines.iter().take(LINES_SHOWN) {
            let kind = match (line.kind, chinese) {
                (LineKind::Firing, false) => "began",
                (LineKind::Still, false) => "still on",
                (LineKind::Resolved, false) => "over",
                (LineKind::Firing, true) => "开始",
                (LineKind::Still, true) => "仍在持续",
                (LineKind::Resolved, true) => "已恢复",
            };
            let text = if chinese { &line.text_zh } else { &line.text };
            out.push_str(&format!("\n- {kind}: {text}, {} = {}", line.subject, shown(line.value)));
            if !line.details.is_empty() {
                out.push_str(&format!(" ({})", line.details));
            }
        }
        if self.lines.len() > LINES_SHOWN {
            let more = self.lines.len() - LINES_SHOWN;
            out.push_str(&if chinese {
                format!("\n……另有 {more} 条")
            } else {
                format!("\n… and {more} more")
            });
        }
        out
    }
}

fn shown(value: f64) -> String {
    let short: f64 = format!("{value:.4e}").parse().unwrap_or(value);
    short.to_string()
}

/// A mail, without addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// One line, without control characters.
    pub subject: String,
    /// The text.
    pub text: String,
}

/// A message as a mail. Control characters of subjects are taken out, so that no line of the header can be forged.
pub fn mail(message: &Message, chinese: bool) -> Mail {
    let subject = message.title(chinese).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Mail { subject, text: message.text(chinese) }
}

/// A message as the JSON body of a webhook: `text` for chats that show a text, the lines for machines.
pub fn webhook_body(message: &Message, chinese: bool) -> serde_json::Value {
    serde_json::json!({
        "format": 1,
        "id": message.id,
        "group": message.group,
        "severity": message.severity(),
        "text": message.text(chinese),
        "alerts": message.lines,
        "at_ms": message.at_ms,
    })
}
