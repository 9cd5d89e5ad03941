//! Pages that stand alone: one file, no network, no script.

pub(crate) mod anomalies;
pub(crate) mod backtest;
pub(crate) mod evaluation;
pub(crate) mod learn;
pub(crate) mod plots;
pub(crate) mod quality;
pub(crate) mod svg;
pub(crate) mod training;
pub(crate) mod trends;

use crate::lang::Lang;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The frame of every page.
fn page(lang: Lang, title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang=(lang.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(include_str!("page.css"))) }
            }
            body {
                main {
                    (body)
                    footer {
                        "Tradewind 信风 " (env!("CARGO_PKG_VERSION"))
                    }
                }
            }
        }
    }
    .into_string()
}
