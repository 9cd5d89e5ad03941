//! Exit codes, language, JSON, completions.

use super::{command, fails, ok, text, tradewind};
use std::process::Stdio;

#[test]
fn help_and_version_are_answers() {
    let dir = tempfile::tempdir().unwrap();
    assert!(ok(dir.path(), &["--help"]).contains("trends"));
    assert!(ok(dir.path(), &["--version"]).starts_with("tradewind 0."));
}

#[test]
fn mistakes_of_the_user_end_with_1_and_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    fails(d, 1, &["no-such-command"]);
    let e = fails(d, 1, &["forecast", "--input", "missing.csv"]);
    assert!(e.contains("missing.csv"), "{e}");
    let e = fails(d, 1, &["trends"]);
    assert!(e.contains("shop") && e.contains("hint"), "{e}");
    std::fs::write(d.join("a.csv"), "unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,2\n").unwrap();
    let e = fails(d, 1, &["forecast", "--input", "a.csv", "--model", "tehta"]);
    assert!(e.contains("did you mean `theta`"), "{e}");
    let e = fails(d, 1, &["forecast", "--input", "a.csv", "--model", "naive", "-p", "colour=red"]);
    assert!(e.contains("colour"), "{e}");
    let e = fails(d, 1, &["forecast", "--input", "a.csv", "--level", "120"]);
    assert!(e.contains("120"), "{e}");
    let e = fails(d, 1, &["forecast", "--input", "a.csv", "--freq", "fortnight"]);
    assert!(e.contains("fortnight"), "{e}");
    std::fs::write(d.join("b.csv"), "unique_id,ds,y\na,2024-01-01,1\na,2024-01-02,many\n").unwrap();
    let e = fails(d, 1, &["forecast", "--input", "b.csv"]);
    assert!(e.contains("b.csv") && e.contains("line 3") && e.contains("many"), "{e}");
}

#[test]
fn a_probe_without_a_server_ends_with_1_and_says_why() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let e = fails(dir.path(), 1, &["probe", "--url", &format!("http://{free}/livez")]);
    assert!(e.contains("/livez") && e.contains("hint"), "{e}");
    for url in ["127.0.0.1:8080", "file:///etc/passwd", "http://me:secret@127.0.0.1/"] {
        let e = fails(dir.path(), 1, &["probe", "--url", url]);
        assert!(e.contains("http://") && !e.contains("secret"), "{e}");
    }
}

#[test]
fn init_makes_a_shop_once_when_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let made = |told: String| serde_json::from_str::<serde_json::Value>(&told).unwrap()["made"].clone();
    assert_eq!(made(ok(dir.path(), &["init", "--if-absent", "--json", "shop"])), true);
    let settings = dir.path().join("shop/tradewind.toml");
    std::fs::write(&settings, "[shop]\nname = \"kept\"\n").unwrap();
    assert_eq!(made(ok(dir.path(), &["init", "--if-absent", "--json", "shop"])), false);
    assert!(std::fs::read_to_string(&settings).unwrap().contains("kept"));
    // Only a shop is left alone: other files are still a reason to stop.
    std::fs::create_dir(dir.path().join("other")).unwrap();
    std::fs::write(dir.path().join("other/notes.txt"), "mine").unwrap();
    fails(dir.path(), 1, &["init", "--if-absent", "other"]);
}

#[test]
fn chinese_is_spoken_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    assert!(ok(dir.path(), &["--lang", "zh", "init", "shop"]).contains("已创建"));
    let e = fails(dir.path(), 1, &["--lang", "zh", "forecast", "--input", "none.csv"]);
    assert!(e.contains("错误"), "{e}");
}

#[test]
fn models_are_listed_for_people_and_machines() {
    let dir = tempfile::tempdir().unwrap();
    let listed = ok(dir.path(), &["models"]);
    for name in ["naive", "seasonal_naive", "theta", "holt_winters", "stl", "croston", "auto"] {
        assert!(listed.contains(name), "{name} is not listed");
    }
    let json: serde_json::Value = serde_json::from_str(&ok(dir.path(), &["models", "--json"])).unwrap();
    let models = json.as_array().unwrap();
    assert!(models.len() >= 12);
    assert!(models.iter().all(|m| m["summary_zh"].as_str().is_some_and(|s| !s.is_empty())));
    let presets = ok(dir.path(), &["models", "--presets"]);
    for name in
        ["canonical", "online-retail", "m5", "walmart-weekly", "complete-journey", "tmall-listings", "plain"]
    {
        assert!(presets.contains(name), "{name} is not listed");
    }
}

#[test]
fn every_model_of_the_catalogue_forecasts_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.csv"), super::series_csv(2, 120)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&ok(dir.path(), &["models", "--json"])).unwrap();
    let has = |m: &serde_json::Value, name| m["params"].as_array().unwrap().iter().any(|p| p["name"] == name);
    let rounds = |m: &serde_json::Value| has(m, "epochs") && has(m, "origins");
    let (networks, others): (Vec<_>, Vec<_>) = json.as_array().unwrap().iter().partition(|m| rounds(m));
    assert!(networks.len() > 1 && others.len() > 1);
    // Networks are only begun: what they learn is tested where they are.
    for (models, params) in [(others, &[][..]), (networks, &["-p", "epochs=1", "-p", "origins=100"][..])] {
        let names: Vec<&str> = models.iter().map(|m| m["name"].as_str().unwrap()).collect();
        let names_in_a_row = names.join(",");
        let mut args = vec!["forecast", "--input", "a.csv", "--horizon", "7", "--output", "f.csv", "--model"];
        args.push(&names_in_a_row);
        args.extend(params);
        ok(dir.path(), &args);
        let out = std::fs::read_to_string(dir.path().join("f.csv")).unwrap();
        assert_eq!(out.lines().count(), 1 + names.len() * 2 * 7);
    }
}

#[test]
fn a_closed_pipe_is_a_normal_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut child =
        command(dir.path(), &["models"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert!(!text(&out.stderr).contains("panicked"), "{}", text(&out.stderr));
    assert!(out.status.success());
}

#[test]
fn completions_name_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(ok(dir.path(), &["completions", shell]).contains("trends"));
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_130_and_leaves_the_shop_whole() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    ok(d, &["init", "shop"]);
    let mut rows = String::from("product_id,ds,quantity\n");
    for i in 0..3_000_000_u64 {
        rows.push_str(&format!("p{},2024-01-{:02},1\n", i % 50, 1 + i % 28));
    }
    std::fs::write(d.join("sales.csv"), rows).unwrap();
    let mut child =
        command(d, &["import", "sales.csv"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let code = child.wait().unwrap().code();
    let out = tradewind(d, &["check", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let imports = json["quality"]["imports"].as_array().unwrap().len();
    // A very quick machine may have been done before the signal came: then the import is whole.
    match code {
        Some(130) => assert_eq!(imports, 0),
        other => assert_eq!((other, imports), (Some(0), 1)),
    }
}
