//! The demo, as the README promises it.

use super::ok;

#[test]
fn the_demo_ends_with_a_report_that_stands_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = ok(dir.path(), &["demo", "--products", "60", "--days", "500"]);
    let path = out.lines().last().unwrap().strip_prefix("The report: ").unwrap().to_owned();
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.contains("<svg") && page.contains("Rising") && page.contains("Falling"));
    for outside in ["<script", "src=\"http", "href=\"http", "url(", "@import", "NaN"] {
        assert!(!page.contains(outside), "the page holds {outside}");
    }
    // Made anew, in Chinese, over the earlier one.
    let out = ok(dir.path(), &["demo", "--products", "60", "--days", "500", "--lang", "zh"]);
    assert!(out.contains("报告："), "{out}");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.contains("上升") && page.contains("lang=\"zh-Hans\""));
    let d = dir.path().join("demo-shop");
    for by in ["category", "word"] {
        let told = ok(&d, &["trends", "--by", by, "--top", "3"]);
        assert!(told.contains("Known up to"), "{told}");
    }
}

#[test]
fn a_folder_with_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("demo-shop");
    std::fs::create_dir(&mine).unwrap();
    std::fs::write(mine.join("thesis.txt"), "mine").unwrap();
    super::fails(dir.path(), 1, &["demo"]);
    assert_eq!(std::fs::read_to_string(mine.join("thesis.txt")).unwrap(), "mine");
}
