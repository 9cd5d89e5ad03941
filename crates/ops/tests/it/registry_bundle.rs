//! A version as one file: out, in, the same bytes again; and files that want to do harm.

use crate::databases;
use crate::registry::{artifact, assert_sound, new, open};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tradewind_core::{ErrorKind, Fault};
use tradewind_ops::Clock;
use tradewind_ops::registry::{ImportSettings, Manifest, Page, Registry};

async fn shop() -> (databases::Fresh, tempfile::TempDir, Registry) {
    let (fresh, dir) = (databases::sqlite(), tempfile::tempdir().unwrap());
    let registry = open(&fresh.url, dir.path(), Clock::at(1)).await;
    (fresh, dir, registry)
}

/// An artifact where two files have the same content.
fn twins(dir: &Path) -> PathBuf {
    let folder = artifact(dir, "a");
    fs::create_dir_all(folder.join("深/er")).unwrap();
    fs::copy(folder.join("shared.json"), folder.join("深/er/copy.json")).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn goes_out_and_comes_in_the_same() {
    let (_fresh, dir, registry) = shop().await;
    let version = registry.register(new("weekly"), &twins(dir.path())).await.unwrap();
    let (one, two) = (dir.path().join("one.tar.zst"), dir.path().join("two.tar.zst"));
    registry.export(&version.reference(), &one).await.unwrap();
    registry.export(&version.reference(), &two).await.unwrap();
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());

    let (_fresh, other_dir, other) = shop().await;
    other.register(new("weekly"), &artifact(other_dir.path(), "z")).await.unwrap();
    let settings = ImportSettings { created_by: "ben".into(), ..ImportSettings::default() };
    let imported = other.import(&one, &settings).await.unwrap();
    assert_eq!((imported.number, imported.created_by.as_str()), (2, "ben"));
    assert_eq!(imported.artifact_hash, version.artifact_hash);
    assert_eq!(imported.manifest.metrics, version.manifest.metrics);
    assert_eq!(imported.manifest.lineage.origin.as_deref(), Some("weekly@1"));
    let folder = other.fetch(&imported).await.unwrap();
    assert_eq!(fs::read_to_string(folder.join("深/er/copy.json")).unwrap(), "[1,2,3]");
    assert_eq!(fs::read_to_string(folder.join("empty")).unwrap(), "");
    // Twice is once; under another name it is another model.
    assert_eq!(other.import(&one, &settings).await.unwrap().number, 2);
    let named = ImportSettings { name: Some("second".into()), ..ImportSettings::default() };
    assert_eq!(other.import(&one, &named).await.unwrap().name, "second");
    assert_sound(&other).await;
}

/// The manifest and contents of an exported version.
async fn exported() -> (tempfile::TempDir, Manifest, Vec<(String, Vec<u8>)>) {
    let (_fresh, dir, registry) = shop().await;
    let version = registry.register(new("weekly"), &artifact(dir.path(), "a")).await.unwrap();
    let folder = registry.fetch(&version).await.unwrap();
    let files = version.manifest.files.iter();
    let files = files.map(|f| (format!("blobs/{}", f.blake3), fs::read(folder.join(&f.path)).unwrap()));
    let files = files.collect();
    (dir, version.manifest, files)
}

fn entry(name: &str, kind: tar::EntryType, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    // Past the checks that the crate makes of names.
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.extend(content);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

fn pack(path: &Path, entries: &[Vec<u8>]) {
    let mut encoder = zstd::Encoder::new(fs::File::create(path).unwrap(), 3).unwrap();
    for entry in entries {
        encoder.write_all(entry).unwrap();
    }
    encoder.write_all(&[0; 1024]).unwrap();
    encoder.finish().unwrap();
}

fn regular(name: &str, content: &[u8]) -> Vec<u8> {
    entry(name, tar::EntryType::Regular, content)
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_archives_that_are_not_what_they_say() {
    let (_kept, manifest, files) = exported().await;
    let (_fresh, dir, registry) = shop().await;
    let text = serde_json::to_vec(&manifest).unwrap();
    let (first, second) = (&files[0], &files[1]);
    let whole =
        || vec![regular("manifest.json", &text), regular(&first.0, &first.1), regular(&second.0, &second.1)];
    let changed = |edit: &dyn Fn(&mut Manifest)| {
        let mut manifest = manifest.clone();
        edit(&mut manifest);
        let mut out = whole();
        out[0] = regular("manifest.json", &serde_json::to_vec(&manifest).unwrap());
        out
    };
    let rehashed = |edit: &dyn Fn(&mut Manifest)| {
        changed(&|m: &mut Manifest| {
            edit(m);
            m.artifact_hash = m.hash();
        })
    };
    let with = |place: usize, other: Vec<u8>| {
        let mut out = whole();
        out[place] = other;
        out
    };
    let wrong = vec![b'x'; first.1.len()];
    let more = |extra: Vec<u8>| {
        let mut out = whole();
        out.push(extra);
        out
    };
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("nothing", vec![]),
        ("no manifest", whole()[1..].to_vec()),
        ("a manifest that is no JSON", with(0, regular("manifest.json", b"{"))),
        ("a path upwards", rehashed(&|m| m.files[0].path = "../../escaped".into())),
        ("an absolute path", rehashed(&|m| m.files[0].path = "/tmp/escaped".into())),
        ("a newer format", changed(&|m| m.format = 99)),
        ("a changed parameter", changed(&|m| m.seed = 1)),
        ("a name that is none", rehashed(&|m| m.name = "../x".into())),
        ("a size bomb", rehashed(&|m| m.files[0].bytes = 1 << 60)),
        ("a size that wraps", rehashed(&|m| m.files.iter_mut().for_each(|f| f.bytes = u64::MAX))),
        ("a hash that is none", rehashed(&|m| m.files[0].blake3 = "../../../../etc/passwd".into())),
        ("another content", with(1, regular(&first.0, &wrong))),
        ("a shorter content", with(1, regular(&first.0, &first.1[1..]))),
        ("an entry upwards", with(1, regular("../escaped", &first.1))),
        ("a symbolic link", with(1, entry(&first.0, tar::EntryType::Symlink, &first.1))),
        ("a hard link", with(1, entry(&first.0, tar::EntryType::Link, &first.1))),
        ("a long name", with(1, entry("././@LongLink", tar::EntryType::GNULongName, &[b'a'; 4096]))),
        ("a pax header", with(1, entry("pax", tar::EntryType::XHeader, b"30 path=../../escaped-by-pax\n"))),
        ("a file too few", whole()[..2].to_vec()),
        ("a file too many", more(regular("more", b"x"))),
        ("another order", vec![whole()[0].clone(), whole()[2].clone(), whole()[1].clone()]),
    ];
    let path = dir.path().join("in.tar.zst");
    for (what, entries) in cases {
        pack(&path, &entries);
        let fault = registry.import(&path, &ImportSettings::default()).await.expect_err(what);
        assert!(
            matches!(fault.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidParams),
            "{what}: {fault}"
        );
    }
    // Zeros shrink well: what counts is what would be unpacked.
    pack(&path, &whole());
    let small = ImportSettings { bytes_max: 10, ..ImportSettings::default() };
    assert_eq!(registry.import(&path, &small).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let cut = fs::read(&path).unwrap();
    fs::write(&path, &cut[..cut.len() / 2]).unwrap();
    assert_eq!(
        registry.import(&path, &ImportSettings::default()).await.unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let nowhere = registry.import(&dir.path().join("nowhere"), &ImportSettings::default()).await;
    assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::Unavailable);

    assert!(registry.models(&Page::default()).await.unwrap().items.is_empty());
    assert!(!dir.path().join("escaped").exists() && !Path::new("/tmp/escaped").exists());
    let left: Vec<_> =
        fs::read_dir(dir.path().join("registry/cache")).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    // The untouched one is taken in.
    pack(&path, &whole());
    assert_eq!(registry.import(&path, &ImportSettings::default()).await.unwrap().number, 1);
}

#[test]
fn bytes_of_any_kind_do_no_harm() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (_kept, manifest, files) = runtime.block_on(exported());
    let (_fresh, dir, registry) = runtime.block_on(shop());
    let text = serde_json::to_vec(&manifest).unwrap();
    let mut good = regular("manifest.json", &text);
    for (name, content) in &files {
        good.extend(regular(name, content));
    }
    let path = dir.path().join("in.tar.zst");
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (prop::collection::vec((0..good.len(), any::<u8>()), 1..6), any::<bool>());
    runner
        .run(&strategy, |(edits, packed)| {
            let mut bytes = good.clone();
            for (place, byte) in edits {
                bytes[place] = byte;
            }
            if packed {
                pack(&path, &[bytes])
            } else {
                fs::write(&path, &bytes).unwrap()
            }
            // Either refused, or a version that verifies: bytes that no rule speaks of (owners, padding) may differ.
            if let Ok(version) = runtime.block_on(registry.import(&path, &ImportSettings::default())) {
                prop_assert!(packed);
                runtime.block_on(registry.fetch(&version)).unwrap();
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(assert_sound(&registry));
}
