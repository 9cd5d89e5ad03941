//! `features.toml`: the definitions of a shop, read with every fault and its line.

use super::check::{DefinitionFault, DefinitionFaults, called, faults_of};
use super::definition::{Aggregation, Feature, FeatureView, Source, Span, Window};
use crate::error::{Error, Result};
use crate::files;
use crate::shop::Shop;
use std::collections::HashMap;
use std::path::Path;
use toml_edit::{Document, Item, TableLike};

/// The name of the file in a shop's folder.
pub const FILE_NAME: &str = "features.toml";

const VIEW_KEYS: &[&str] =
    &["name", "entity", "table", "sql", "time", "ttl", "available_after", "lateness", "tie_break", "feature"];
const FEATURE_KEYS: &[&str] = &["name", "expression", "aggregation", "window"];

impl Shop {
    /// The feature views in the shop's `features.toml`; none when there is no such file.
    ///
    /// # Errors
    /// [`Error::Definitions`] with all faults, each with its line; [`Error::File`] when the file cannot be read.
    pub fn feature_views(&self) -> Result<Vec<FeatureView>> {
        let path = self.root().join(FILE_NAME);
        if !path.exists() {
            return Ok(vec![]);
        }
        parse(&files::read_text(&path)?, &path)
    }
}

/// Reads definitions from `text`; `path` is named in faults.
///
/// # Errors
/// [`Error::Definitions`] with all faults; text that is no TOML at all has only that fault.
pub fn parse(text: &str, path: &Path) -> Result<Vec<FeatureView>> {
    let mut reader = Reader { text, faults: vec![], lines: HashMap::new() };
    let views = reader.views();
    let mut faults = reader.faults;
    // What could not be read was told already; the stand-in for it must not be told again.
    for mut fault in faults_of(&views) {
        let (view, feature) = fault.at;
        let told = faults
            .iter()
            .any(|f| f.at == fault.at && (f.key == fault.key || (fault.key == "table" && f.key == "sql")));
        if told {
            continue;
        }
        let place = |key| reader.lines.get(&(Some(view), feature, key)).copied();
        fault.line = place(fault.key).or_else(|| place(""));
        faults.push(fault);
    }
    if faults.is_empty() {
        return Ok(views);
    }
    faults.sort_by_key(|f| f.line);
    Err(Error::Definitions(DefinitionFaults { path: Some(path.to_owned()), faults }))
}

/// Where a key stands: view, feature, key; the empty key is the section itself.
type Place = (Option<usize>, Option<usize>, &'static str);

struct Reader<'a> {
    text: &'a str,
    faults: Vec<DefinitionFault>,
    lines: HashMap<Place, usize>,
}

/// The section that is being read.
struct Section<'t> {
    table: &'t dyn TableLike,
    view: usize,
    view_name: String,
    feature: Option<usize>,
    feature_name: Option<String>,
}

impl Reader<'_> {
    fn views(&mut self) -> Vec<FeatureView> {
        let document = match Document::parse(self.text) {
            Ok(document) => document,
            Err(e) => {
                let line = self.line(e.span().map_or(0, |s| s.start));
                self.fault(line, "", None, "", format!("not valid TOML: {}", e.message()), (0, None));
                return vec![];
            }
        };
        for (key, item) in document.as_table().iter() {
            if key != "view" {
                let line = self.line_of(document.as_table(), key);
                let message = format!("unknown key `{key}`; the file holds [[view]] sections only");
                self.fault(line, "", None, "", message, (0, None));
            } else if item.as_array_of_tables().is_none() {
                let line = self.line_of(document.as_table(), key);
                self.fault(line, "", None, "", "write [[view]] with two brackets".into(), (0, None));
            }
        }
        let sections = document.as_table().get("view").and_then(Item::as_array_of_tables);
        let mut views = vec![];
        for (i, table) in sections.into_iter().flat_map(|s| s.iter()).enumerate() {
            let start = self.line(table.span().map_or(0, |s| s.start));
            self.lines.insert((Some(i), None, ""), start);
            views.push(self.view(table, i));
        }
        views
    }

    fn view(&mut self, table: &toml_edit::Table, i: usize) -> FeatureView {
        let name = table.get("name").and_then(Item::as_str).unwrap_or_default();
        let section =
            Section { table, view: i, view_name: called(name, i), feature: None, feature_name: None };
        self.known_keys(&section, VIEW_KEYS);
        let source = match (self.string(&section, "table"), self.string(&section, "sql")) {
            (Some(table), None) => Source::Table(table),
            (None, Some(sql)) => Source::Sql(sql),
            (Some(table), Some(_)) => {
                self.say(&section, "sql", "there are both `table` and `sql`; leave one out".into());
                Source::Table(table)
            }
            (None, None) => {
                if !table.contains_key("table") && !table.contains_key("sql") {
                    self.say(
                        &section,
                        "table",
                        "there is none; name a `table`, or write a query as `sql`".into(),
                    );
                }
                Source::Sql(String::new())
            }
        };
        let entity = self.strings(&section, "entity");
        let time = match (self.string(&section, "time"), &source) {
            (Some(time), _) => time,
            (None, Source::Table(name)) if !table.contains_key("time") => {
                // A canonical table knows its own column of time.
                let spec = tradewind_core::tables::TableSpec::named(name);
                spec.and_then(|s| s.time).unwrap_or_default().to_owned()
            }
            _ => String::new(),
        };
        let ttl = self.span(&section, "ttl");
        let available_after = self.span(&section, "available_after").unwrap_or_default();
        let lateness = self.span(&section, "lateness").unwrap_or_default();
        let tie_break = self.string(&section, "tie_break");
        let mut features = vec![];
        match table.get("feature") {
            None => {}
            Some(item) => match item.as_array_of_tables() {
                Some(list) => {
                    for (j, feature) in list.iter().enumerate() {
                        let start = self.line(feature.span().map_or(0, |s| s.start));
                        self.lines.insert((Some(i), Some(j), ""), start);
                        features.push(self.feature(feature, &section, j));
                    }
                }
                None => {
                    self.say(&section, "feature", "write each as a section [[view.feature]]".into());
                }
            },
        }
        let name = self.string(&section, "name").unwrap_or_default();
        FeatureView { name, entity, source, time, ttl, available_after, lateness, tie_break, features }
    }

    fn feature(&mut self, table: &toml_edit::Table, view: &Section<'_>, j: usize) -> Feature {
        let name = table.get("name").and_then(Item::as_str).unwrap_or_default();
        let section = Section {
            table,
            view: view.view,
            view_name: view.view_name.clone(),
            feature: Some(j),
            feature_name: Some(called(name, j)),
        };
        self.known_keys(&section, FEATURE_KEYS);
        let name = self.string(&section, "name").unwrap_or_default();
        let expression = self.string(&section, "expression");
        let words = || Aggregation::ALL.iter().map(|a| a.name()).collect::<Vec<_>>().join(", ");
        let aggregation = match self.string(&section, "aggregation") {
            Some(word) => Aggregation::ALL.iter().copied().find(|a| a.name() == word).unwrap_or_else(|| {
                self.say(&section, "aggregation", format!("there is no `{word}`; there are: {}", words()));
                Aggregation::Count
            }),
            None => {
                if !table.contains_key("aggregation") {
                    self.say(&section, "aggregation", format!("there is none; write one of: {}", words()));
                }
                Aggregation::Count
            }
        };
        let window = match self.string(&section, "window") {
            Some(text) => text.parse::<Window>().unwrap_or_else(|e| {
                self.say(&section, "window", e);
                Window::All
            }),
            None => Window::All,
        };
        Feature { name, expression, aggregation, window }
    }

    fn known_keys(&mut self, section: &Section<'_>, keys: &'static [&'static str]) {
        for (key, _) in section.table.iter() {
            match keys.iter().find(|k| **k == key) {
                Some(known) => {
                    let line = self.line_of(section.table, key);
                    self.lines.insert((Some(section.view), section.feature, known), line);
                }
                None => {
                    let line = self.line_of(section.table, key);
                    let message = format!("unknown key `{key}`; there are: {}", keys.join(", "));
                    let (view, feature) = (section.view_name.clone(), section.feature_name.clone());
                    self.fault(line, &view, feature, "", message, (section.view, section.feature));
                }
            }
        }
    }

    fn string(&mut self, section: &Section<'_>, key: &'static str) -> Option<String> {
        let item = section.table.get(key)?;
        let text = item.as_str().map(str::to_owned);
        if text.is_none() {
            self.say(section, key, "it must be text in quotes".into());
        }
        text
    }

    fn strings(&mut self, section: &Section<'_>, key: &'static str) -> Vec<String> {
        let Some(item) = section.table.get(key) else { return vec![] };
        if let Some(one) = item.as_str() {
            return vec![one.to_owned()];
        }
        let list: Option<Vec<String>> =
            item.as_array().and_then(|list| list.iter().map(|v| v.as_str().map(str::to_owned)).collect());
        list.unwrap_or_else(|| {
            self.say(section, key, "it must be a list of texts, as [\"product_id\"]".into());
            vec![]
        })
    }

    fn span(&mut self, section: &Section<'_>, key: &'static str) -> Option<Span> {
        let text = self.string(section, key)?;
        match text.parse::<Span>() {
            Ok(span) => Some(span),
            Err(message) => {
                self.say(section, key, message);
                None
            }
        }
    }

    fn say(&mut self, section: &Section<'_>, key: &'static str, message: String) {
        let place = (Some(section.view), section.feature, key);
        let whole = (Some(section.view), section.feature, "");
        let line = self.lines.get(&place).or_else(|| self.lines.get(&whole)).copied().unwrap_or(1);
        let (view, feature) = (section.view_name.clone(), section.feature_name.clone());
        self.fault(line, &view, feature, key, message, (section.view, section.feature));
    }

    fn fault(
        &mut self,
        line: usize,
        view: &str,
        feature: Option<String>,
        key: &'static str,
        message: String,
        at: (usize, Option<usize>),
    ) {
        self.faults.push(DefinitionFault { line: Some(line), view: view.into(), feature, key, message, at });
    }

    fn line_of(&self, table: &dyn TableLike, key: &str) -> usize {
        let start = table.get_key_value(key).and_then(|(k, item)| k.span().or_else(|| item.span()));
        self.line(start.map_or(0, |s| s.start))
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[view]]
name = "product_sales"
entity = ["product_id"]
table = "sales"
ttl = "90d"
available_after = "1d"

[[view.feature]]
name = "units_7d"
expression = "quantity"
aggregation = "sum"
window = "7d"

[[view.feature]]
name = "lines"
aggregation = "count"
"#;

    fn faults(text: &str) -> Vec<String> {
        match parse(text, Path::new("features.toml")) {
            Err(Error::Definitions(f)) => f.to_string().lines().map(str::to_owned).collect(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_file_is_read() {
        let views = parse(GOOD, Path::new("features.toml")).unwrap();
        let mut expected = FeatureView::of_table(
            "product_sales",
            &["product_id"],
            "sales",
            "ds",
            vec![
                Feature::new("units_7d", Aggregation::Sum, "quantity", Window::Last(Span::days(7))),
                Feature::count("lines", Window::All),
            ],
        );
        expected.ttl = Some(Span::days(90));
        expected.available_after = Span::days(1);
        assert_eq!(views, [expected]);
        assert_eq!(parse("", Path::new("x")).unwrap(), []);
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_line() {
        let text = r#"[[view]]
name = "Sales"
entity = ["product"]
table = "sales"
ttl = "soon"
colour = 3

[[view.feature]]
name = "units"
aggregation = "sum"
window = "7 days"

[[view.feature]]
name = "units"
aggregation = "median"
expression = ""
"#;
        let expected = [
            "features.toml:2: view `Sales`, `name`: `Sales` is no name of a view",
            "features.toml:3: view `Sales`, `entity`: `sales` has no column `product`; it has: product_id, ds",
            "features.toml:5: view `Sales`, `ttl`: `soon` is no span",
            "features.toml:6: view `Sales`: unknown key `colour`; there are: name, entity",
            "features.toml:8: view `Sales`, feature `units`, `expression`: `sum` needs one",
            "features.toml:11: view `Sales`, feature `units`, `window`: `7 days` is no span",
            "features.toml:14: view `Sales`, feature `units`, `name`: another feature",
            "features.toml:15: view `Sales`, feature `units`, `aggregation`: there is no `median`",
            "features.toml:16: view `Sales`, feature `units`, `expression`: it is empty",
        ];
        let found = faults(text);
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\n{expected}");
        }
    }

    #[test]
    fn sources_and_shapes() {
        let view = |middle: &str| {
            format!(
                "[[view]]\nname = \"a\"\nentity = [\"product_id\"]\n{middle}\n[[view.feature]]\nname = \"n\"\naggregation = \"count\"\n"
            )
        };
        for (text, part) in [
            (view(""), "there is none; name a `table`"),
            (view("table = \"sales\"\nsql = \"SELECT 1\""), "leave one out"),
            (view("table = \"orders\"\ntime = \"ds\""), "there is no table `orders`; there are: sales"),
            (view("table = \"sales\"\ntime = \"day\""), "its column of time is `ds`"),
            (view("sql = \"SELECT 1\""), "name the column of event time"),
            (view("table = 7"), "it must be text in quotes"),
            (
                view("table = \"sales\"\nttl = \"1d\"\navailable_after = \"2d\""),
                "shorter than `available_after`",
            ),
            ("views = 3".to_owned(), "unknown key `views`"),
            ("[view]\nname = \"a\"".to_owned(), "write [[view]]"),
            ("[[view]\n".to_owned(), "not valid TOML"),
        ] {
            let found = faults(&text);
            assert!(found.iter().any(|f| f.contains(part)), "{text}: {found:#?}");
        }
    }
}
