//! The rules of the house, checked with every run of the tests.

#[test]
fn the_house_is_tidy() {
    let faults = xtask::tidy::check(&xtask::root()).expect("the rules can be checked");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
