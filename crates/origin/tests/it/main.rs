//! Real directories: what a listing gives and what it must never give.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // in a test a panic is the report

use millpond_blob::BlobError;
use millpond_origin::{LocalFolders, Location, Origin, OriginErrorKind, Seen, SourceKind, canonical};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(place.root()).unwrap();
        place
    }
    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }
    fn write(&self, name: &[u8], bytes: &[u8]) -> PathBuf {
        let path = self.root().join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
    fn origin(&self) -> LocalFolders {
        LocalFolders::new(vec![self.root()], vec![], 3)
    }
    fn text(&self, name: &str) -> String {
        format!("local://{}/{name}", self.root().display())
    }
    fn folder(&self, name: &str) -> Location {
        self.origin().locate(&self.text(name), SourceKind::Prefix).unwrap()
    }
    fn object(&self, name: &str) -> Location {
        self.origin().locate(&self.text(name), SourceKind::Object).unwrap()
    }
}

/// All names below a folder in the order given, and how much was skipped.
fn listed(origin: &LocalFolders, folder: &Location, after: &[u8]) -> (Vec<(Vec<u8>, Seen)>, u64) {
    let mut listing = origin.list(folder, after).unwrap();
    let (mut all, mut skipped) = (Vec::new(), 0);
    while let Some(block) = listing.next().unwrap() {
        skipped += block.skipped;
        for at in 0..block.len() {
            let (name, seen) = block.get(at).unwrap();
            all.push(([&*block.folder, name].concat(), seen));
        }
    }
    (all, skipped)
}

fn names(origin: &LocalFolders, folder: &Location, after: &[u8]) -> Vec<Vec<u8>> {
    listed(origin, folder, after).0.into_iter().map(|(name, _)| name).collect()
}

/// Folders sort with their slash: `a.b` is before `a/x`, which is before `a0`.
#[test]
fn names_come_in_the_order_of_keys_whatever_their_bytes() {
    let place = Place::new();
    let mut expected: Vec<Vec<u8>> = [
        b"a/x".as_slice(),
        b"a.b",
        b"a0",
        b"a-",
        b"a/x0/y",
        b"a/x/1",
        b"b/\xff\xfe",
        b"b/\xc3\xa4",
        b"b/ ",
        b"b/new\nline",
        b"z",
        b"\x01",
        b"same-start-0001",
        b"same-start-0002",
        b"same-start-00010",
    ]
    .iter()
    .filter(|name| **name != b"a/x")
    .map(|name| name.to_vec())
    .collect();
    for name in &expected {
        place.write(name, name);
    }
    expected.sort();
    assert_eq!(names(&place.origin(), &place.folder(""), b""), expected);
    for (at, after) in expected.iter().enumerate() {
        assert_eq!(names(&place.origin(), &place.folder(""), after), expected[at + 1..], "{after:?}");
    }
    // Also after names that are none.
    for after in [b"a/".as_slice(), b"a/x", b"a/x/", b"a", b"b", b"c", b"\xff"] {
        let rest: Vec<_> = expected.iter().filter(|name| name.as_slice() > after).cloned().collect();
        assert_eq!(names(&place.origin(), &place.folder(""), after), rest, "{after:?}");
    }
}

/// More files than one task takes, in one folder and in many, with folders between the files.
#[test]
fn large_and_many_folders_stay_in_order() {
    let place = Place::new();
    let mut expected = Vec::new();
    for n in 0..3_000 {
        expected.push(format!("big/{n}").into_bytes());
    }
    for n in 0..300 {
        expected.push(format!("big/{n}x/inner").into_bytes());
        expected.push(format!("many/{}/{}/f", n % 17, n).into_bytes());
    }
    for name in &expected {
        place.write(name, b"");
    }
    expected.sort();
    for threads in [1, 2, 8] {
        let origin = LocalFolders::new(vec![place.root()], vec![], threads);
        assert_eq!(names(&origin, &place.folder(""), b""), expected, "{threads} threads");
    }
    let middle = &expected[1_700];
    assert_eq!(names(&place.origin(), &place.folder(""), middle), expected[1_701..]);
    // A reader that goes away ends the threads.
    let mut listing = place.origin().list(&place.folder(""), b"").unwrap();
    listing.next().unwrap();
    drop(listing);
}

#[test]
fn links_and_special_files_are_skipped_and_counted() {
    let place = Place::new();
    place.write(b"d/file", b"1");
    let outside = place.folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, place.root().join("d/out")).unwrap();
    symlink(outside.join("secret"), place.root().join("d/leak")).unwrap();
    symlink("file", place.root().join("d/inside")).unwrap();
    symlink("..", place.root().join("d/up")).unwrap();
    rustix_fifo(&place.root().join("d/pipe"));
    let (all, skipped) = listed(&place.origin(), &place.folder(""), b"");
    assert_eq!(all.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>(), [b"d/file"]);
    assert_eq!(skipped, 5);
    let mark = all[0].1.mark;
    for name in ["d/out/secret", "d/leak", "d/inside", "d/up/d/file", "d/pipe", "d", "d/none"] {
        let object = place.object(name);
        assert_eq!(place.origin().look(&object).unwrap_err().kind, OriginErrorKind::Gone, "{name}");
        let error = place.origin().open(&object, mark).err().expect(name);
        assert_eq!(error.kind, OriginErrorKind::Gone, "{name}: {error}");
        assert!(error.message.contains(name), "{error}");
    }
    for name in ["d/out", "d/up", "d/file"] {
        let error = place.origin().list(&place.folder(name), b"").err().expect(name);
        assert_eq!(error.kind, OriginErrorKind::Gone, "{name}: {error}");
    }
}

fn rustix_fifo(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

#[test]
fn only_roots_may_be_read_and_the_refusal_names_the_setting() {
    let place = Place::new();
    fs::create_dir(place.folder.path().join("root-2")).unwrap();
    let origin = place.origin();
    let around = place.folder.path().display();
    for source in [
        format!("local://{around}/root-2"),
        format!("local://{around}"),
        format!("local://{around}/root/../root-2"),
        format!("local://{around}/root/./x"),
        "local:///etc".to_owned(),
        "file:///etc/passwd".to_owned(),
        "local:///".to_owned(),
    ] {
        let error = origin.locate(&source, SourceKind::Prefix).unwrap_err();
        assert_eq!(error.kind, OriginErrorKind::Refused, "{source}");
        assert!(error.message.contains("'local_import'"), "{error}");
    }
    for source in ["local://name/x", "s3://bucket/x", "/etc", "", "local:/etc", "local://"] {
        let error = origin.locate(source, SourceKind::Object).unwrap_err();
        assert_eq!(error.kind, OriginErrorKind::Refused, "{source}");
    }
    // Both spellings, and spare slashes, are one place.
    let plain = origin.locate(&format!("local://{around}/root/d"), SourceKind::Prefix).unwrap();
    assert!(plain.0.ends_with(b"/root/d/"));
    for same in [format!("file://{around}/root/d/"), format!("local://{around}//root/d//")] {
        assert_eq!(origin.locate(&same, SourceKind::Prefix).unwrap(), plain);
    }
    // What a forged address would say.
    for bytes in
        [b"local:///etc/passwd".as_slice(), b"/etc/passwd", b"local:///\0", b"local:///../etc/passwd"]
    {
        let error = origin.look(&Location(bytes.to_vec().into())).unwrap_err();
        assert_eq!(error.kind, OriginErrorKind::Refused);
    }
}

/// The server's own files are hidden by what they are: also under another name.
#[test]
fn what_the_server_keeps_for_itself_is_hidden() {
    let place = Place::new();
    place.write(b"data/meta.redb", b"x");
    let key = place.write(b"key", b"secret");
    fs::hard_link(&key, place.root().join("harmless")).unwrap();
    let seen = place.origin().look(&place.object("harmless")).unwrap();
    place.write(b"open", b"x");
    let origin = LocalFolders::new(vec![place.root()], vec![place.root().join("data"), key], 2);
    let (all, skipped) = listed(&origin, &place.folder(""), b"");
    assert_eq!(all.iter().map(|(name, _)| name.as_slice()).collect::<Vec<_>>(), [b"open"]);
    assert_eq!(skipped, 3);
    assert_eq!(origin.list(&place.folder("data"), b"").err().unwrap().kind, OriginErrorKind::Refused);
    assert_eq!(origin.look(&place.object("data/meta.redb")).unwrap_err().kind, OriginErrorKind::Refused);
    for name in ["key", "harmless"] {
        assert_eq!(origin.look(&place.object(name)).unwrap_err().kind, OriginErrorKind::Gone);
        assert!(origin.open(&place.object(name), seen.mark).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_file_is_read_only_as_long_as_it_is_what_was_seen() {
    let place = Place::new();
    let file = place.write(b"d/f", b"0123456789");
    let object = place.object("d/f");
    let seen = place.origin().look(&object).unwrap();
    assert_eq!(seen.size, 10);
    assert_eq!(listed(&place.origin(), &place.folder(""), b"").0, [(b"d/f".to_vec(), seen)]);
    let reader = place.origin().open(&object, seen.mark).unwrap();
    assert_eq!(reader.size(), 10);
    assert_eq!(reader.read(3..6).await.unwrap(), "345");
    assert!(matches!(reader.read(3..11).await, Err(BlobError::Range(..))));
    // The same size, and the time of the change put back: the change of the inode still shows.
    let times = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, b"abcdefghij").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
    let error = reader.read(0..5).await.unwrap_err().to_string();
    assert!(error.contains("changed") && error.contains("d/f"), "{error}");
    let error = place.origin().open(&object, seen.mark).err().unwrap();
    assert_eq!(error.kind, OriginErrorKind::Gone);
    assert!(error.message.contains("d/f") && error.message.contains("changed"), "{error}");
    fs::remove_file(&file).unwrap();
    let error = place.origin().open(&object, seen.mark).err().unwrap();
    assert!(error.kind == OriginErrorKind::Gone && error.message.contains("does not exist"), "{error}");
}

/// A denial of `local:///secret/*` must not be passed by another way to write it.
#[test]
fn a_source_has_one_spelling() {
    for (written, meant) in [
        ("file:///srv/secret/x", "local:///srv/secret/x"),
        ("local:////srv//secret/x", "local:///srv/secret/x"),
        ("local:///srv/secret//", "local:///srv/secret/"),
        ("local:///", "local:///"),
        ("local://", "local://"),
        ("local://demo//x", "local://demo//x"),
        ("s3://bucket//x", "s3://bucket//x"),
    ] {
        assert_eq!(canonical(written), meant, "{written}");
    }
}
