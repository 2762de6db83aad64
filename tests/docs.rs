//! The pages of docs/: their SQL runs as it stands there, and their links lead somewhere. Whether what
//! they say is true is the other tests' matter.

use std::fs;
use std::path::{Path, PathBuf};

use support::listener::silent_tenant;
use support::shared_cluster;

/// The others show what changes the server or needs roles of yours.
const WITH_SQL: [&str; 4] = ["backup", "troubleshooting", "tuning", "upgrade"];

/// What a database of the tests has not, or must not do to the others.
const LEFT_OUT: [&str; 2] = ["ALTER SYSTEM", "cron.schedule"];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

fn statements(page: &str) -> Vec<&str> {
    let blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| LEFT_OUT.iter().all(|word| !block.contains(word))).collect()
}

#[test]
fn the_sql_of_every_page_runs_as_it_stands() {
    for name in WITH_SQL {
        let page = read(&project().join(format!("docs/{name}.md")));
        let statements = statements(&page);
        assert!(!statements.is_empty(), "{name}");
        let db = shared_cluster().create_database(name);
        silent_tenant(&db, "my-shop");
        for block in statements {
            db.execute(block);
        }
    }
}

fn links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors that GitHub makes of the headings.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |heading: &str| -> String {
        heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect()
    };
    headings.map(|heading| anchor(heading).replace(' ', "-")).collect()
}

#[test]
fn every_link_of_the_pages_and_of_the_readme_leads_to_a_file_and_a_heading() {
    let folder = fs::read_dir(project().join("docs")).expect("a folder docs");
    let pages = folder.map(|entry| entry.expect("an entry").path());
    let pages: Vec<PathBuf> =
        pages.filter(|page| page.extension().is_some_and(|e| e == "md")).collect();
    assert!(pages.len() > WITH_SQL.len());
    for page in pages.iter().chain([&project().join("README.md")]) {
        let text = read(page);
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let there =
                if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            assert!(there.exists(), "{}: {link}", page.display());
            let leads = anchor.is_empty() || anchors(&read(&there)).iter().any(|a| a == anchor);
            assert!(leads, "{}: {link}", page.display());
        }
    }
}
