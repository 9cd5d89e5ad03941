//! The page of `tradewind check`.

use super::page;
use crate::lang::Lang;
use maud::html;
use tradewind::warehouse::clean::CleanReport;
use tradewind::warehouse::quality::{Bilingual, QualityReport, Severity};

/// What the page is made from.
pub(crate) struct QualityPage<'a> {
    pub(crate) lang: Lang,
    pub(crate) shop: &'a str,
    pub(crate) report: &'a QualityReport,
    pub(crate) clean: Option<&'a CleanReport>,
}

/// A text in the reader's language.
pub(crate) fn told(lang: Lang, text: &Bilingual) -> &str {
    lang.pick(text.en, text.zh)
}

/// What cleaning did with the lines, in words; classes without a line are left out.
pub(crate) fn account(lang: Lang, clean: &CleanReport) -> Vec<(String, u64)> {
    let words = |class: &str| {
        match class {
            "used" => lang.pick("count as sales", "计为销售"),
            "undone" => {
                lang.pick("sales that were themselves returned or cancelled", "本身已退货或取消的销售")
            }
            "returns_matched" => lang.pick("returns taken off the sale they undo", "退货，冲抵原销售"),
            "returns_on_day" => {
                lang.pick("returns taken off their own day or the days before", "退货，冲抵当日或之前的销售")
            }
            "returns_dropped" => lang.pick("returns left out, as the settings say", "退货，按设置忽略"),
            "returns_kept" => {
                lang.pick("returns counted as negative sales, as the settings say", "退货，按设置计为负销售")
            }
            "adjustments" => lang.pick("corrections of the stock", "库存调整"),
            "duplicates" => lang.pick("repeat another line in every column", "与另一行完全重复"),
            "excluded" => lang.pick("no products: postage, charges, vouchers", "非商品：邮费、手续费、礼券"),
            "zero_price" => lang.pick("given away for nothing, left out", "零价行，已忽略"),
            "unreadable" => lang.pick("without a quantity that is a number", "数量不是数字"),
            "outside" => lang.pick("before or after the days asked for", "不在所求日期之内"),
            other => return other.to_owned(),
        }
        .to_owned()
    };
    clean.classes().into_iter().filter(|(_, n)| *n > 0).map(|(class, n)| (words(class), n)).collect()
}

impl QualityPage<'_> {
    /// The whole page.
    pub(crate) fn html(&self) -> String {
        let l = self.lang;
        let title = l.pick("Data quality", "数据质量");
        let heading =
            if self.shop.is_empty() { title.to_owned() } else { format!("{title} · {}", self.shop) };
        let severity = |s: Severity| match s {
            Severity::Error => ("error", l.pick("error", "错误")),
            Severity::Warning => ("warning", l.pick("warning", "警告")),
            Severity::Info => ("info", l.pick("info", "信息")),
        };
        page(
            l,
            &heading,
            &html! {
                h1 { (heading) }
                div.tiles {
                    @for s in [Severity::Error, Severity::Warning, Severity::Info] {
                        div.tile { span.soft { (severity(s).1) } b class=(severity(s).0) { (self.report.count(s)) } }
                    }
                    @for t in &self.report.tables {
                        div.tile { span.soft { (t.table) } b { (t.rows) } }
                    }
                }
                h2 { (l.pick("Findings", "发现")) }
                @if self.report.findings.is_empty() { p { (l.pick("Nothing strange was found.", "没有发现异常。")) } }
                div.cards {
                    @for f in &self.report.findings {
                        article.card {
                            header {
                                h3 { (told(l, &f.title)) }
                                span.badge class=(severity(f.severity).0) {
                                    (severity(f.severity).1) " · " (f.count) @if let Some(of) = f.of { " / " (of) }
                                }
                            }
                            p { small { (f.table) } }
                            p { (told(l, &f.meaning)) }
                            @if !f.examples.is_empty() {
                                p { small { (l.pick("e.g.", "例如")) " " (f.examples.join(l.pick("; ", "；"))) } }
                            }
                            p { "→ " (told(l, &f.remedy)) }
                        }
                    }
                }
                @if let Some(clean) = self.clean {
                    h2 { (l.pick("What cleaning does with every sales line", "清洗对每条销售行的处理")) }
                    table {
                        @for (text, n) in account(l, clean) { tr { td { (text) } td.n { (n) } } }
                        tr { td { b { (l.pick("all lines", "全部行")) } } td.n { b { (clean.rows) } } }
                    }
                }
                @for t in &self.report.tables {
                    h2 { (t.table) }
                    div.scroll { table {
                        thead { tr {
                            th { (l.pick("column", "列")) }
                            th.n { (l.pick("empty", "空值")) }
                            th { (l.pick("smallest", "最小")) }
                            th { (l.pick("largest", "最大")) }
                            th.n { (l.pick("distinct, about", "不同值（约）")) }
                        } }
                        @for c in &t.columns {
                            tr {
                                td { (c.column) }
                                td.n { (format!("{:.1}%", c.null_share * 100.0)) }
                                td { (c.min.as_deref().unwrap_or("")) }
                                td { (c.max.as_deref().unwrap_or("")) }
                                td.n { (c.distinct.map(|d| d.to_string()).unwrap_or_default()) }
                            }
                        }
                    } }
                }
                @if !self.report.imports.is_empty() {
                    h2 { (l.pick("Imports", "导入")) }
                    div.scroll { table {
                        thead { tr {
                            th.n { "#" }
                            th { (l.pick("source", "来源")) }
                            th { (l.pick("preset", "预设")) }
                            th { (l.pick("rows", "行")) }
                            th { (l.pick("rejected", "拒绝")) }
                        } }
                        @for i in &self.report.imports {
                            tr {
                                td.n { (i.id) }
                                td { (i.name) }
                                td { (i.preset) }
                                td { (i.rows.iter().map(|(t, n)| format!("{t} {n}")).collect::<Vec<_>>().join(", ")) }
                                td { (i.rejects.iter().map(|(r, n)| format!("{r} {n}")).collect::<Vec<_>>().join(", ")) }
                            }
                        }
                    } }
                }
            },
        )
    }
}
