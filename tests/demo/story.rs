//! The play: a customer, the assistant and the owner in one chat. Each step acts through the fake
//! Evolution, and is over only when its effect was seen in the database and at Evolution.

use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::json;
use support::payload::phone_message_id;
use support::{Person, Said, Scene, SceneOptions, SentText, WebhookAttempt};

use crate::ending::{Ending, Interrupt, caught, ensure};
use crate::ledger::{self, Answered, Taken};
use crate::screen::{self, Voice};
use crate::stage::{self, Stage};

/// A webhook is one transaction.
const WEBHOOK_LIMIT: Duration = Duration::from_secs(20);

/// A model may be slow, and may ask to be tried again.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

const INSTANCE: &str = "farewell-travel";
const ASSISTANT: &str = "Farewell Travel, assistant";
const OWNER: &str = "Olivia, the owner, on her phone";

type Step<'a> = fn(&mut Story<'a>) -> Result<(), Ending>;

pub fn tell(stage: &Stage, interrupt: &Interrupt, started_at: Instant) -> Result<(), Ending> {
    let options = SceneOptions {
        provider: stage.provider.to_owned(),
        columns: stage.columns(),
        instance: INSTANCE.to_owned(),
        ..SceneOptions::default().model(stage.model.clone())
    };
    let scene = Scene::start_with(&stage.cluster, "demo", options);
    stage::await_worker(&scene.db, interrupt)?;
    introduce(&scene);
    let customer = Person::with_phone("447700900123").and_lid("100000000000001");
    let customer = customer.named("Emma Clarke");
    let mut story = Story { scene: &scene, interrupt, customer, answers_seen: 0 };
    for (number, (title, step)) in (1..).zip(Story::STEPS) {
        screen::heading(&format!("{number}/{}  {title}", Story::STEPS.len()));
        let done = caught(|| step(&mut story));
        done.map_err(|ending| ending.during(&format!("step {number} ({title})")))?;
    }
    screen::heading("What the database knows of it");
    ledger::print(&scene.db);
    let seconds = started_at.elapsed().as_secs_f64();
    screen::success(&format!(
        "All {} steps were seen in the database and at Evolution, in {seconds:.1} s.",
        Story::STEPS.len()
    ));
    screen::plain("");
    Ok(())
}

fn introduce(scene: &Scene) {
    let [evolution, relay] = [scene.evolution.url(), scene.relay.url()]
        .map(|url| url.trim_start_matches("http://").to_owned());
    screen::stands_too(&format!("Evolution API: a fake of it on {evolution}"));
    screen::stands_too(&format!("Its instance {INSTANCE} posts webhooks to {relay}"));
}

struct Story<'a> {
    scene: &'a Scene,
    interrupt: &'a Interrupt,
    customer: Person,
    /// How many of the messages at Evolution have been told.
    answers_seen: usize,
}

impl<'a> Story<'a> {
    const STEPS: [(&'static str, Step<'a>); 7] = [
        ("A customer asks", Self::customer_asks),
        ("The same webhook comes twice", Self::webhook_comes_twice),
        ("Three quick messages, one answer", Self::three_quick_messages),
        ("The owner writes: the assistant steps back", Self::owner_takes_over),
        ("The customer writes: the assistant stays silent", Self::assistant_stays_silent),
        ("The owner has been silent long enough", Self::assistant_comes_back),
        ("The assistant answers again", Self::assistant_answers_again),
    ];

    fn customer_asks(&mut self) -> Result<(), Ending> {
        let asked = self.customer_says("Hello! What is Rome famous for?");
        self.queued(&asked)?;
        self.answered(&[&asked.id])
    }

    fn webhook_comes_twice(&mut self) -> Result<(), Ending> {
        let (shop, text) = (&self.scene.shop, "Is the city of Porto in Spain or in Portugal?");
        let (id, now) = (phone_message_id(), Utc::now());
        let message = json!({ "conversation": text });
        let data = shop.line().customer_message(&self.customer, &id, message, "conversation", now);
        let payload = shop.line().envelope("messages.upsert", data, &self.scene.relay.url());
        screen::bubble(Voice::Customer, self.customer_name(), now, text);
        let twice = shop.deliver_twice(&payload);
        let [first, second] = [self.accepted(&twice[0])?, self.accepted(&twice[1])?];
        let duplicates = [&first, &second].map(|attempt| attempt.json()["duplicate"] == true);
        ensure(duplicates[0] != duplicates[1], || {
            format!("one of two equal webhooks must be a duplicate: {first:?} {second:?}")
        })?;
        let (messages, events) = ledger::rows_of(&self.scene.db, &id);
        ensure((messages, events) == (1, 1), || {
            format!("{messages} messages and {events} processed events stand for one message")
        })?;
        screen::note("2 webhooks at the same time → 200 and 200, the later with duplicate: true");
        screen::note("1 row in messages, 1 row in processed_events");
        self.answered(&[&id])
    }

    fn three_quick_messages(&mut self) -> Result<(), Ending> {
        let mut asked = vec![self.customer_says("Hi, me again")];
        for text in ["We are two people, and we love art", "In which city is the Louvre museum?"] {
            // Nobody types so fast that a message overtakes the one before it.
            asked.iter().try_for_each(|said| self.accepted(said).map(drop))?;
            screen::bubble_below(Voice::Customer, text);
            asked.push(self.scene.shop.customer_says(&self.customer, text));
        }
        for said in &asked {
            self.queued(said)?;
        }
        let ids: Vec<&str> = asked.iter().map(|said| said.id.as_str()).collect();
        self.answered(&ids)
    }

    fn owner_takes_over(&mut self) -> Result<(), Ending> {
        let text = "Hello Emma, Olivia here. I will book your hotel in Paris myself.";
        screen::bubble(Voice::Human, OWNER, Utc::now(), text);
        let said = self.scene.shop.owner_types(&self.customer, text);
        let taken = self.taken(&said, "owner")?;
        ensure(taken.action == "paused", || format!("the action is {}", taken.action))?;
        let (is_paused, reason) = ledger::pause_of(&self.scene.db);
        ensure(is_paused, || "the session is not paused".to_owned())?;
        screen::note(&format!("{} ({reason})", taken.told()));
        Ok(())
    }

    fn assistant_stays_silent(&mut self) -> Result<(), Ending> {
        let said = self.customer_says("Great, thank you so much!");
        self.accepted(&said)?;
        self.wait_until_idle()?;
        let taken = self.taken(&said, "customer")?;
        ensure(taken.action == "ignored_paused", || format!("the action is {}", taken.action))?;
        let sent = self.scene.shop.sent().len();
        ensure(sent == self.answers_seen, || "the assistant spoke in a paused chat".to_owned())?;
        screen::note(&taken.told());
        screen::note("whaply.wait_until_idle() is true, and nothing new arrived at Evolution");
        Ok(())
    }

    fn assistant_comes_back(&mut self) -> Result<(), Ending> {
        screen::plain("");
        screen::note(
            "By default that takes two hours, by the worker's own clock. Here nobody waits: this \
             call counts any silence as long enough.",
        );
        let sql = "SELECT whaply.auto_resume_paused_sessions(0)";
        let resumed: i64 = self.scene.db.value(sql, &[]);
        ensure(resumed == 1, || format!("{resumed} sessions resumed instead of one"))?;
        let (is_paused, _) = ledger::pause_of(&self.scene.db);
        ensure(!is_paused, || "the session is still paused".to_owned())?;
        screen::note(&format!("{sql} → {resumed} session resumed"));
        Ok(())
    }

    fn assistant_answers_again(&mut self) -> Result<(), Ending> {
        let asked = self.customer_says("One more question: what is the capital of Italy?");
        self.queued(&asked)?;
        self.answered(&[&asked.id])
    }

    fn customer_name(&self) -> &str {
        self.customer.name().unwrap_or_default()
    }

    fn customer_says(&self, text: &str) -> Said {
        screen::bubble(Voice::Customer, self.customer_name(), Utc::now(), text);
        self.scene.shop.customer_says(&self.customer, text)
    }

    /// The webhook was taken with 200.
    fn accepted(&self, said: &Said) -> Result<WebhookAttempt, Ending> {
        let ended = || Ok(said.attempts().into_iter().find(|attempt| attempt.is_last));
        let attempt = self.interrupt.wait_for("the webhook's answer", WEBHOOK_LIMIT, ended)?;
        ensure(attempt.is_success(), || {
            format!("the webhook was answered {:?}: {}", attempt.status, attempt.body)
        })?;
        Ok(attempt)
    }

    /// What became of a message, as its rows say.
    fn taken(&self, said: &Said, sender: &str) -> Result<Taken, Ending> {
        self.accepted(said)?;
        let row = ledger::taken(&self.scene.db, &said.id)
            .ok_or_else(|| Ending::failed("the message is not in the database"))?;
        ensure(row.sender == sender, || format!("its sender is {}", row.sender))?;
        Ok(row)
    }

    fn queued(&self, said: &Said) -> Result<(), Ending> {
        let answer = self.accepted(said)?.json();
        // The row may be a step further by now; the answer is what it was at the commit.
        let action = answer["action"].as_str().unwrap_or_default().to_owned();
        ensure(action == "ai_queued", || format!("the action is {action}"))?;
        screen::note(&Taken { action, ..self.taken(said, "customer")? }.told());
        Ok(())
    }

    /// One answer to all these questions arrives at Evolution, and the database knows it.
    fn answered(&mut self, questions: &[&str]) -> Result<(), Ending> {
        let sent = self.next_answer()?;
        screen::bubble(Voice::Assistant, ASSISTANT, sent.at, &sent.text);
        self.answers_seen += 1;
        self.wait_until_idle()?;
        let arrived = self.scene.shop.sent().len();
        ensure(arrived == self.answers_seen, || "more than one answer was sent".to_owned())?;
        let answer = ledger::answer(&mut self.scene.db.connect(), &sent.id)
            .map_err(|error| Ending::Failed(format!("{error:?}")))?
            .ok_or_else(|| Ending::failed("the answer is not in the database"))?;
        ensure(answer.state == "sent", || format!("its reply is {}", answer.state))?;
        for question in questions {
            self.is_answered_by(question, &answer)?;
        }
        screen::note(&answer.told(questions.len()));
        Ok(())
    }

    fn is_answered_by(&self, question: &str, answer: &Answered) -> Result<(), Ending> {
        let row = ledger::taken(&self.scene.db, question);
        let row = row.ok_or_else(|| Ending::failed("the question is not in the database"))?;
        ensure(row.action == "ai_replied", || format!("the question ended as {}", row.action))?;
        ensure(row.reply_id == Some(answer.reply_id), || {
            format!("reply {:?} answers the question, not {}", row.reply_id, answer.reply_id)
        })
    }

    fn next_answer(&self) -> Result<SentText, Ending> {
        let mut told = None;
        self.interrupt.wait_for("an answer at Evolution", ANSWER_LIMIT, || {
            let trouble = ledger::trouble(&self.scene.db);
            if let Some(trouble) = trouble.filter(|trouble| told.as_ref() != Some(trouble)) {
                ensure(!trouble.is_final, || trouble.text.clone())?;
                screen::note(&format!("not yet: {}", trouble.text));
                told = Some(trouble);
            }
            Ok(self.scene.shop.sent().into_iter().nth(self.answers_seen))
        })
    }

    fn wait_until_idle(&self) -> Result<(), Ending> {
        self.interrupt.wait_for("the worker to have nothing open", ANSWER_LIMIT, || {
            let idle: bool = self.scene.db.value("SELECT whaply.wait_until_idle('1 s')", &[]);
            Ok(idle.then_some(()))
        })
    }
}
