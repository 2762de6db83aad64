//! The README and the pages of docs/: their SQL runs as it stands there, their links lead somewhere, and
//! the README names what there is. Whether what they say of it is true is the other tests' matter.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::listener::{free_address, silent_tenant};
use support::{Cluster, ClusterOptions, Database, shared_cluster};

/// The README is the page that makes the tenant of which all of them speak.
const README: &str = "README";
const TENANT: &str = "my-shop";

/// Of these a reader expects statements to copy.
const WITH_SQL: [&str; 7] =
    [README, "backup", "install", "security", "troubleshooting", "tuning", "upgrade"];

/// Roles that the pages take for the reader's own.
const READERS_ROLES: &str = "
    CREATE ROLE n8n; CREATE ROLE ana; CREATE ROLE ops; CREATE ROLE role; CREATE ROLE authenticated; CREATE ROLE authenticator";

/// Needs pg_cron, which not every server of the tests has; `cron` runs it.
const LEFT_OUT: &str = "cron.schedule";

const ADDRESS_OF_THE_PAGES: &str = "127.0.0.1:8480";
const DATABASE_OF_THE_PAGES: &str = "mydb";

/// What begins a statement that stands within a sentence.
const STATEMENTS: [&str; 6] = [
    "SELECT ",
    "ALTER SYSTEM SET ",
    "ALTER DATABASE mydb ",
    "ALTER EXTENSION whaply ",
    "NOTIFY ",
    "UPDATE ",
];

/// A reader has to put something in the place of these.
const GAPS: [&str; 3] = ["...", "…", "$1"];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(page: &Path) -> String {
    fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// The README first.
fn pages() -> Vec<PathBuf> {
    let folder = fs::read_dir(project().join("docs")).expect("a folder docs");
    let pages = folder.map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<PathBuf> =
        pages.filter(|page| page.extension().is_some_and(|e| e == "md")).collect();
    pages.sort();
    pages.insert(0, project().join("README.md"));
    assert!(pages.len() > WITH_SQL.len());
    pages
}

/// Blocks of SQL, and whole statements within the text, in their order.
fn statements(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (number, part) in page.split("```").enumerate() {
        if number % 2 == 1 {
            found.extend(part.strip_prefix("sql\n").map(str::to_owned));
            continue;
        }
        let spans = part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
        let is_whole = |span: &String| {
            STATEMENTS.iter().any(|begin| span.starts_with(begin))
                && GAPS.iter().all(|gap| !span.contains(gap))
        };
        found.extend(spans.filter(is_whole));
    }
    found.retain(|sql| !sql.contains(LEFT_OUT));
    found
}

/// As a reader runs it: each statement by itself, in psql.
#[track_caller]
fn run(cluster: &Cluster, db: &Database, sql: &str) {
    let port = cluster.port().to_string();
    let mut psql = Command::new("psql");
    psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
    psql.args(["-p", &port, "-d", db.name()]).env_remove("PGOPTIONS");
    let psql = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut psql = psql.spawn().expect("psql can be run");
    let written = psql.stdin.take().expect("its input is a pipe").write_all(sql.as_bytes());
    let output = psql.wait_with_output().expect("psql ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(written.is_ok() && output.status.success(), "{sql}\n{complaint}");
}

#[test]
fn the_sql_of_every_page_runs_as_it_stands() {
    let cluster = Cluster::start(ClusterOptions::default());
    let address = free_address().to_string();
    let mut with_sql = Vec::new();
    for page in pages() {
        let name = page.file_stem().expect("a page has a name").to_string_lossy().into_owned();
        let statements = statements(&read(&page));
        if statements.is_empty() {
            continue;
        }
        let db = cluster.create_database(&name.to_lowercase().replace('-', "_"));
        if name == README {
            db.execute(READERS_ROLES);
        } else {
            silent_tenant(&db, TENANT);
        }
        for sql in statements {
            let sql = sql.replace(ADDRESS_OF_THE_PAGES, &address);
            run(&cluster, &db, &sql.replace(DATABASE_OF_THE_PAGES, db.name()));
        }
        with_sql.push(name);
    }
    let missing: Vec<_> =
        WITH_SQL.iter().filter(|name| !with_sql.iter().any(|n| n == *name)).collect();
    assert!(missing.is_empty(), "no SQL is found in {missing:?}");
}

/// The settings in the README's table.
fn settings_of_the_table(readme: &str) -> Vec<String> {
    let rows = readme.lines().filter(|line| line.starts_with("| `whaply."));
    let columns = rows.filter_map(|row| row.split('|').nth(1));
    let names = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn the_readme_names_every_setting_view_and_function_and_no_setting_that_is_none() {
    let db = shared_cluster().create_database("named");
    let readme = read(&project().join("README.md"));
    let mut settings: Vec<String> =
        db.column("SELECT name FROM pg_settings WHERE name LIKE 'whaply.%'", &[]);
    let mut named = settings_of_the_table(&readme);
    settings.sort();
    named.sort();
    assert_eq!(named, settings);
    let objects: Vec<String> = db.column(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'whaply'::regnamespace AND relkind = 'v'
          UNION SELECT proname FROM pg_proc
                 WHERE pronamespace = 'whaply'::regnamespace AND prorettype <> 'trigger'::regtype",
        &[],
    );
    let is_named = |name: &String| {
        readme.contains(&format!("`{name}`")) || readme.contains(&format!("`{name}("))
    };
    let missing: Vec<_> = objects.iter().filter(|name| !is_named(name)).collect();
    assert!(objects.len() > 30 && missing.is_empty(), "{missing:?} of {}", objects.len());
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
    for page in pages() {
        let text = read(&page);
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
