//! Rules in words: `category in ["tea", "cups"] and price <= 20 and not tag("adult")`.
//!
//! ```text
//! rule       = and-terms with `or` between; terms with `and` between; `not` before a term; brackets
//! comparison = value (== | != | < | <= | > | >=) value, value [not] in [literal, …]
//! value      = number, "text", true, false, field, + - * / of numbers, function
//! field      = id title category price stock created margin blocked, attributes.NAME for free ones
//! function   = tag("t")  sold_in("region")  known(field)  contains(text, "part")  starts_with(text, "part")  lower(text)
//! ```
//!
//! `&&`, `||` and `!` may be written too, texts in single quotes as well. A comparison with what is not known is false,
//! so `price <= 20` leaves out items without a price and `not (price <= 20)` keeps them. An attribute of several texts
//! compares as any of them does. A fault is told with its position and what was expected there. The language is small
//! on purpose: of the crates that were weighed one is under the AGPL (`evalexpr`), the others bring a parser generator
//! or a whole scripting engine (`cel-interpreter`, `rhai`), and none tells types before it runs.
//!
//! A rule is evaluated once for each item; the answer is kept as a set of bits, which is mended as items change.
//!
//! ```
//! use tradewind_recommend::serve::rules::check;
//! assert!(check(r#"category == "tea" or price * 2 < 5"#).is_ok());
//! let told = check(r#"price <= "20""#).unwrap_err().to_string();
//! assert!(told.contains("position 10") && told.contains("a number"), "{told}");
//! ```

mod parser;

use super::items::{Item, Items, Value};
use parser::parse;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tradewind_core::{ItemSet, Result};

/// An error that names the position where the rule is wrong.
pub fn check(rule: &str) -> Result<()> {
    parse(rule).map(|_| ())
}

/// Rules whose sets are kept.
const KEPT_MAX: usize = 256;

/// A parsed rule.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Text(String),
    Flag(bool),
    Field(Field),
    Attribute(String),
    Tag(String),
    SoldIn(String),
    Known(Box<Node>),
    Contains(Box<Node>, String),
    StartsWith(Box<Node>, String),
    Lower(Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Node>),
    Arithmetic(char, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Id,
    Title,
    Category,
    Price,
    Stock,
    Created,
    Margin,
    Blocked,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("title", Field::Title),
    ("category", Field::Category),
    ("price", Field::Price),
    ("stock", Field::Stock),
    ("created", Field::Created),
    ("margin", Field::Margin),
    ("blocked", Field::Blocked),
];
#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Differs,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a part gives for one item.
#[derive(Clone, Debug)]
enum Given<'a> {
    Missing,
    Number(f64),
    Text(&'a str),
    Owned(String),
    Texts(&'a [String]),
    Flag(bool),
}

impl Given<'_> {
    /// Whether one of the texts is so, or the only one.
    fn some_text(&self, mut so: impl FnMut(&str) -> bool) -> bool {
        match self {
            Self::Text(t) => so(t),
            Self::Owned(t) => so(t),
            Self::Texts(all) => all.iter().any(|t| so(t)),
            _ => false,
        }
    }
}

impl Node {
    fn holds(&self, items: &Items, at: u32) -> bool {
        matches!(self.give(items, at, items.at(at)), Given::Flag(true))
    }

    fn give<'a>(&'a self, items: &'a Items, at: u32, item: &'a Item) -> Given<'a> {
        let text = |t: &'a Option<String>| t.as_deref().map_or(Given::Missing, Given::Text);
        let number = |n: Option<f64>| n.map_or(Given::Missing, Given::Number);
        let holds = |n: &'a Node| matches!(n.give(items, at, item), Given::Flag(true));
        match self {
            Self::Number(n) => Given::Number(*n),
            Self::Text(t) => Given::Text(t),
            Self::Flag(f) => Given::Flag(*f),
            Self::Field(field) => match field {
                Field::Id => Given::Text(items.ids().name(at)),
                Field::Title => text(&item.title),
                Field::Category => text(&item.category),
                Field::Price => number(item.price),
                Field::Stock => number(item.stock),
                Field::Created => number(item.created.map(|c| c as f64)),
                Field::Margin => number(item.margin),
                Field::Blocked => Given::Flag(item.blocked),
            },
            Self::Attribute(name) => match item.attributes.get(name) {
                None => Given::Missing,
                Some(Value::Number(n)) => Given::Number(*n),
                Some(Value::Text(t)) => Given::Text(t),
                Some(Value::Texts(t)) => Given::Texts(t),
                Some(Value::Flag(f)) => Given::Flag(*f),
            },
            Self::Tag(tag) => Given::Flag(item.tags.iter().any(|t| t == tag)),
            Self::SoldIn(region) => {
                Given::Flag(item.regions.is_empty() || item.regions.iter().any(|r| r == region))
            }
            Self::Known(node) => Given::Flag(!matches!(node.give(items, at, item), Given::Missing)),
            Self::Contains(node, part) => {
                Given::Flag(node.give(items, at, item).some_text(|t| t.contains(part.as_str())))
            }
            Self::StartsWith(node, part) => {
                Given::Flag(node.give(items, at, item).some_text(|t| t.starts_with(part.as_str())))
            }
            Self::Lower(node) => match node.give(items, at, item) {
                Given::Text(t) => Given::Owned(t.to_lowercase()),
                Given::Owned(t) => Given::Owned(t.to_lowercase()),
                _ => Given::Missing,
            },
            Self::Or(a, b) => Given::Flag(holds(a) || holds(b)),
            Self::And(a, b) => Given::Flag(holds(a) && holds(b)),
            Self::Not(a) => Given::Flag(!holds(a)),
            Self::Compare(how, a, b) => {
                Given::Flag(compare(*how, &a.give(items, at, item), &b.give(items, at, item)))
            }
            Self::In(a, list) => {
                let value = a.give(items, at, item);
                Given::Flag(list.iter().any(|b| compare(Comparison::Equal, &value, &b.give(items, at, item))))
            }
            Self::Arithmetic(sign, a, b) => match (a.give(items, at, item), b.give(items, at, item)) {
                (Given::Number(a), Given::Number(b)) => {
                    let out = match sign {
                        '+' => a + b,
                        '-' => a - b,
                        '*' => a * b,
                        _ => a / b,
                    };
                    if out.is_finite() { Given::Number(out) } else { Given::Missing }
                }
                _ => Given::Missing,
            },
        }
    }
}

fn compare(how: Comparison, a: &Given<'_>, b: &Given<'_>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let so = |order: std::cmp::Ordering| match how {
        Comparison::Equal => order == Equal,
        Comparison::Differs => order != Equal,
        Comparison::Less => order == Less,
        Comparison::LessOrEqual => order != Greater,
        Comparison::Greater => order == Greater,
        Comparison::GreaterOrEqual => order != Less,
    };
    match (a, b) {
        (Given::Number(a), Given::Number(b)) => a.partial_cmp(b).is_some_and(so),
        (Given::Flag(a), Given::Flag(b)) => so(a.cmp(b)),
        // Of several texts one that is so is enough, also for `!=`.
        _ => a.some_text(|a| b.some_text(|b| so(a.cmp(b)))),
    }
}

/// A set with the version of the table it was made for.
struct Kept {
    node: Arc<Node>,
    version: u64,
    set: Arc<ItemSet>,
}

/// Rules with the items for which they hold.
#[derive(Default)]
pub(crate) struct Rules {
    kept: RwLock<HashMap<String, Kept>>,
}

impl Rules {
    /// The items for which a rule holds now.
    pub(crate) fn set(&self, rule: &str, items: &Items) -> Result<Arc<ItemSet>> {
        let version = items.version();
        let old = {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            match kept.get(rule) {
                Some(k) if k.version == version => return Ok(k.set.clone()),
                Some(k) => Some((k.node.clone(), k.version, k.set.clone())),
                None => None,
            }
        };
        let mended = old.as_ref().and_then(|(node, before, set)| {
            let changes = items.changed_since(*before)?;
            let mut set = ItemSet::clone(set);
            for at in changes {
                if node.holds(items, at) { set.insert(at) } else { set.remove(at) }
            }
            Some((node.clone(), set))
        });
        let (node, set) = match mended {
            Some(mended) => mended,
            None => {
                let node = old.map_or_else(|| parse(rule).map(Arc::new), |o| Ok(o.0))?;
                let mut set = ItemSet::none(items.len());
                (0..items.len() as u32).filter(|at| node.holds(items, *at)).for_each(|at| set.insert(at));
                (node, set)
            }
        };
        let set = Arc::new(set);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(rule) {
            // The least recently made one goes.
            let oldest = kept.iter().min_by(|a, b| (a.1.version, a.0).cmp(&(b.1.version, b.0)));
            if let Some(oldest) = oldest.map(|e| e.0.clone()) {
                kept.remove(&oldest);
            }
        }
        // A request that began before a change must not put its older set over a newer one.
        if kept.get(rule).is_none_or(|k| k.version <= version) {
            kept.insert(rule.to_owned(), Kept { node, version, set: set.clone() });
        }
        Ok(set)
    }
}

/// The text as a literal of a rule.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use proptest::prelude::*;

    fn table() -> Items {
        let mut items = Items::new();
        let texts = |t: &[&str]| t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let mut tea = Item {
            title: Some("Green Tea".into()),
            category: Some("tea".into()),
            price: Some(9.5),
            stock: Some(3.0),
            tags: texts(&["hot", "new"]),
            regions: texts(&["cn"]),
            ..Item::default()
        };
        tea.attributes.insert("colours".into(), Value::Texts(texts(&["green", "brown"])));
        tea.attributes.insert("grams".into(), Value::Number(100.0));
        items.set("tea", tea).unwrap();
        items
            .set("cup", Item { category: Some("cups".into()), price: Some(20.0), ..Item::default() })
            .unwrap();
        items.set("odd", Item::default()).unwrap();
        items
    }

    fn check_holds(rule: &str, expected: &[&str]) {
        let items = table();
        let set = Rules::default().set(rule, &items).unwrap_or_else(|e| panic!("{rule}: {e}"));
        let got: Vec<&str> = set.iter().map(|i| items.ids().name(i)).collect();
        assert_eq!(got, expected, "{rule}");
    }

    #[test]
    fn rules_hold_where_they_should() {
        check_holds(r#"category in ["tea", "cups"] and price <= 20 and not tag("adult")"#, &["tea", "cup"]);
        check_holds("price < 20", &["tea"]);
        check_holds("not (price < 20)", &["cup", "odd"]);
        check_holds("!(price < 20) && known(price)", &["cup"]);
        check_holds("price * 2 - 1 >= 18 / 1", &["tea", "cup"]);
        check_holds("price + 1 * 2 == 22", &["cup"]);
        check_holds("-price < -10", &["cup"]);
        check_holds("price / 0 > 1", &[]);
        check_holds(r#"category not in ['tea']"#, &["cup", "odd"]);
        check_holds(r#"tag("hot") or id == "odd""#, &["tea", "odd"]);
        check_holds(r#"attributes.colours == "brown""#, &["tea"]);
        check_holds(r#"attributes.colours in ["red"]"#, &[]);
        check_holds("attributes.grams > 50", &["tea"]);
        check_holds(r#"attributes.grams == "100""#, &[]);
        check_holds(r#"contains(lower(title), "tea")"#, &["tea"]);
        check_holds(r#"starts_with(id, "t") or starts_with(id, "o")"#, &["tea", "odd"]);
        check_holds(r#"sold_in("fr")"#, &["cup", "odd"]);
        check_holds("blocked == false and true", &["tea", "cup", "odd"]);
        check_holds("true or false and false", &["tea", "cup", "odd"]);
        check_holds(r#"category in []"#, &[]);
        check_holds(r#"id == "a\"b" or price in [-1, 20]"#, &["cup"]);
        check_holds(&format!("category == {}", quoted("tea")), &["tea"]);
    }

    #[test]
    fn faults_name_the_position_and_what_was_expected() {
        for (rule, position, expected) in [
            ("", 1, "a value"),
            ("price <=", 9, "a value"),
            (r#"price <= "20""#, 10, "a number"),
            ("pirce < 3", 1, "price"),
            ("price < 3 category", 11, "`and`, `or` or the end"),
            (r#"category in ["tea" "cup"]"#, 20, "`,`"),
            ("category in [3]", 14, "a text"),
            ("tag(hot)", 5, "a text in quotes"),
            ("(price < 3", 11, "`)`"),
            (r#"title == "abc"#, 14, "a closing \""),
            ("price", 1, "a condition"),
            ("price and true", 1, "a condition"),
            ("1 < 2 < 3", 7, "`and`, `or` or the end"),
            ("blocked < true", 1, "a number or a text"),
            ("price # 3", 7, "a value, a word or a sign"),
            ("known(3)", 7, "a field"),
            ("1.2.3 < price", 1, "a number"),
            ("category + 1 > 2", 1, "a number"),
            ("茶 == 3", 1, "a field"),
        ] {
            let told = check(rule).expect_err(rule).to_string();
            assert!(
                told.contains(&format!("position {position}:")) && told.contains(expected),
                "{rule}: {told}"
            );
        }
        assert!(check(&"(".repeat(3000)).is_err() && check(&"not ".repeat(900)).is_err());
        assert!(check(&"x".repeat(5000)).unwrap_err().to_string().contains("position 4001"));
    }

    #[test]
    fn kept_sets_are_mended() {
        let mut items = table();
        let rules = Rules::default();
        let count = |items: &Items| rules.set("price < 20", items).unwrap().len();
        assert_eq!(count(&items), 1);
        items.change("cup", |i| i.price = Some(5.0)).unwrap();
        assert_eq!(count(&items), 2);
        items.set("pot", Item { price: Some(1.0), ..Item::default() }).unwrap();
        items.change("tea", |i| i.price = None).unwrap();
        assert_eq!(count(&items), 2);
        for k in 0..KEPT_MAX * 2 {
            rules.set(&format!("price < {k}"), &items).unwrap();
        }
        assert!(rules.kept.read().unwrap().len() <= KEPT_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_a_rule_or_a_fault(text in r#"[ a-z0-9"'()\[\],.<>=!&|+*/茶-]{0,40}"#) {
            let _ = check(&text);
        }

        #[test]
        fn words_of_the_language_in_any_order(
            words in prop::collection::vec(prop::sample::select(vec![
                "price", "category", "not", "and", "or", "in", "(", ")", "[", "]", ",", "\"a\"", "1", "<", "==", "tag",
                "attributes.x", "-", "+", "known", "true",
            ]), 0..12)
        ) {
            let items = table();
            let rule = words.join(" ");
            if check(&rule).is_ok() {
                prop_assert!(Rules::default().set(&rule, &items).is_ok());
            }
        }
    }
}
