//! 1,000 customers ask in one moment; the model takes 1 s, the gateway 0.1 s. Measured is the time
//! until the last answer stands at the gateway, against the longest single path of 1.1 s.

use std::time::Duration;

use crate::light_server::{LightServer, Role};
use crate::shop::Shops;

pub const MODEL: Duration = Duration::from_secs(1);
pub const GATEWAY: Duration = Duration::from_millis(100);

const TENANTS: usize = 10;
const CHATS_OF_A_TENANT: usize = 100;

/// One round: everything counted from the sending of the COMMIT that made all replies due.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub first_at_model: Duration,
    pub last_at_model: Duration,
    pub first_at_gateway: Duration,
    pub last_at_gateway: Duration,
    /// The gateway's last answer: what the customer sees last.
    pub last_answer: Duration,
}

impl Round {
    /// How many times the longest single path.
    pub fn ratio(&self) -> f64 {
        self.last_answer.as_secs_f64() / (MODEL + GATEWAY).as_secs_f64()
    }
}

pub struct Replies {
    /// The first after the worker's start: it makes its threads and plans its statements.
    pub cold: Round,
    pub warm: Vec<Round>,
}

/// `rounds` rounds after the cold one.
pub fn measure(rounds: usize) -> Replies {
    let model = LightServer::start(Role::Model, MODEL);
    let gateway = LightServer::start(Role::Gateway, GATEWAY);
    let mut shops = Shops::start(TENANTS, CHATS_OF_A_TENANT, &model, &gateway);
    let cold = round(&mut shops, &model, &gateway);
    let warm = (0..rounds).map(|_| round(&mut shops, &model, &gateway)).collect();
    Replies { cold, warm }
}

fn round(shops: &mut Shops, model: &LightServer, gateway: &LightServer) -> Round {
    let all = TENANTS * CHATS_OF_A_TENANT;
    model.forget();
    gateway.forget();
    let (begin, _) = shops.all_ask();
    shops.wait_for_answers(gateway, all);
    let (asked, sent, answers) = (model.arrivals(), gateway.arrivals(), gateway.answers());
    assert_eq!((asked.len(), sent.len()), (all, all), "each was asked and sent once");
    let since = |at: Option<&std::time::Instant>| at.map_or(Duration::ZERO, |at| *at - begin);
    Round {
        first_at_model: since(asked.iter().min()),
        last_at_model: since(asked.iter().max()),
        first_at_gateway: since(sent.iter().min()),
        last_at_gateway: since(sent.iter().max()),
        last_answer: since(answers.iter().max()),
    }
}
