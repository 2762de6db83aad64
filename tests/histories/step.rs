//! What a history is made of, how one is chosen at random, and how it reads in a report.

use std::fmt;

use proptest::prelude::*;

/// Two shops with the same two customers.
pub const SHOPS: usize = 2;
pub const CUSTOMERS: usize = 2;

/// Long enough that every pair of things can meet, short enough to be read.
const MOST_STEPS: usize = 22;
const FEWEST_STEPS: usize = 4;

#[derive(Clone, Debug)]
pub struct History {
    pub shops: [ShopSettings; SHOPS],
    /// How each chat is addressed, shop by shop.
    pub addressing: [[Addressing; CUSTOMERS]; SHOPS],
    pub steps: Vec<Step>,
}

/// What a tenant chose.
#[derive(Clone, Debug)]
pub struct ShopSettings {
    pub on_failure: &'static str,
    pub on_uncertain: &'static str,
    pub on_other_sender: &'static str,
    /// Whether this Evolution saves messages, so that findMessages sees them.
    pub keeps_records: bool,
    /// Whether what was asked during a pause is answered after it.
    pub answer_after_pause: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// By phone number; the chat has no LID.
    Phone,
    /// Sometimes by the one, sometimes by the other, and each message tells both.
    Both,
    /// First by a LID alone; later messages tell both.
    LidFirst,
    /// First by a LID alone, then by the phone number alone: two chats, until a message tells both.
    Apart,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub shop: usize,
    pub customer: usize,
    pub act: Act,
}

#[derive(Clone, Debug)]
pub enum Act {
    CustomerSends {
        what: Content,
        by_lid: bool,
        way: Way,
    },
    CustomerEdits {
        way: Way,
    },
    CustomerDeletes {
        way: Way,
    },
    OwnerTypes {
        what: OwnersWords,
        by_lid: bool,
        way: Way,
    },
    OtherClientSends {
        by_lid: bool,
        way: Way,
    },
    Operator(Operation),
    /// The assistant's last message is read, or not even delivered.
    ReceiptComes(&'static str),
    /// What the next call to the model about this chat comes to.
    ModelWill(ModelDoes),
    /// What the next sendText to this chat comes to.
    GatewayWill(GatewayDoes),
    /// When the echo of the next message to this chat comes.
    EchoWill(EchoDoes),
    /// The whole shop's line; it may go unheard.
    LineCloses {
        is_told: bool,
    },
    LineOpens {
        is_told: bool,
    },
    WaitUntil(Moment),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    Text,
    TwoTextsAtOnce,
    VoiceNote,
    ImageWithCaption,
    Sticker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnersWords {
    New,
    /// What the model answered last in this chat, sent or not.
    VeryWordsOfTheAssistant,
    ResumeWord,
    HoldWord,
}

/// How a webhook gets to the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is taken before the next step.
    Taken,
    /// The next step does not wait for it.
    Unawaited,
    /// Two deliveries at the same moment.
    TwiceAtOnce,
    /// Again, after it was taken.
    TwiceInTurn,
    /// Not before so many further steps.
    Late(usize),
    /// After all steps.
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Pauses,
    Resumes,
    Sends,
    SendsAndPauses,
    /// retry_replies for whatever has failed.
    RetriesFailures,
    /// Hours go by without a word of any human, and auto_resume() runs.
    LetsHoursPass,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelDoes {
    AnswerSlowly(u64),
    AnswerInThreeParts,
    BeTruncated,
    Fail,
    RefuseTheRequest,
    BeBusy,
    BeOverloaded,
    BeCutMidAnswer,
    BeCutBeforeAnswer,
    SayNothing,
    SayOnlyMarks,
    Decline,
    FindItTooLong,
    TalkNonsense,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayDoes {
    TakeItAndAnswerLate(u64),
    TakeItLate(u64),
    TakeItAndCut,
    TakeItAndHang,
    TakeItAndSayConnectionClosed,
    TakeItAndThrow,
    SayConnectionClosedWithoutTakingIt,
    CutBefore,
    FailBefore,
    NotBeLoaded,
    NotKnowTheNumber,
    KnowItUnderTheOtherJid,
    AskToWait,
    BeABrokenProxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoDoes {
    ComeBeforeTheAnswer,
    ComeLate(u64),
    NeverCome,
    ComeAsUpsert,
    ComeAsBothEvents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The model is asked about this chat once more, or there is nothing to do.
    TheModelIsAsked,
    /// One more sendText to this chat has begun, or there is nothing to do.
    ASendBegins,
    /// Everything on its way has been taken, and the worker has nothing to do for this history.
    AllIsQuiet,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shop, customer) = (["a", "b"][self.shop], ["m", "j"][self.customer]);
        write!(f, "{shop}{customer}: {:?}", self.act)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (shop, addressing)) in
            ["a", "b"].iter().zip(self.shops.iter().zip(self.addressing))
        {
            writeln!(
                f,
                "shop {name}: {shop:?}; m by {:?}, j by {:?}",
                addressing[0], addressing[1]
            )?;
        }
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:>3}. {step}", number + 1)?;
        }
        Ok(())
    }
}

/// Any history.
pub fn history() -> impl Strategy<Value = History> {
    let shops = [shop_settings(), shop_settings()];
    let addressing = [[addressing(), addressing()], [addressing(), addressing()]];
    let steps = prop::collection::vec(step(), FEWEST_STEPS..=MOST_STEPS);
    (shops, addressing, steps).prop_map(|(shops, addressing, steps)| History {
        shops,
        addressing,
        steps,
    })
}

fn shop_settings() -> impl Strategy<Value = ShopSettings> {
    let on_failure = prop::sample::select(vec!["hand_over", "none", "fallback", "both"]);
    let on_uncertain = prop_oneof![3 => Just("send"), 1 => Just("hold")];
    let on_other_sender = prop_oneof![3 => Just("pause"), 1 => Just("ignore")];
    let bools = (prop::bool::weighted(0.8), prop::bool::weighted(0.25));
    (on_failure, on_uncertain, on_other_sender, bools).prop_map(
        |(on_failure, on_uncertain, on_other_sender, bools)| ShopSettings {
            on_failure,
            on_uncertain,
            on_other_sender,
            keeps_records: bools.0,
            answer_after_pause: bools.1,
        },
    )
}

fn addressing() -> impl Strategy<Value = Addressing> {
    use Addressing::{Apart, Both, LidFirst, Phone};
    prop_oneof![4 => Just(Phone), 3 => Just(Both), 2 => Just(LidFirst), 1 => Just(Apart)]
}

/// Most of it happens in one chat, so that things meet.
fn step() -> impl Strategy<Value = Step> {
    let shop = prop::bool::weighted(0.25).prop_map(usize::from);
    let customer = prop::bool::weighted(0.25).prop_map(usize::from);
    (shop, customer, act()).prop_map(|(shop, customer, act)| Step { shop, customer, act })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        26 => (content(), any::<bool>(), way())
            .prop_map(|(what, by_lid, way)| Act::CustomerSends { what, by_lid, way }),
        5 => way().prop_map(|way| Act::CustomerEdits { way }),
        3 => way().prop_map(|way| Act::CustomerDeletes { way }),
        9 => (owners_words(), any::<bool>(), way())
            .prop_map(|(what, by_lid, way)| Act::OwnerTypes { what, by_lid, way }),
        3 => (any::<bool>(), way()).prop_map(|(by_lid, way)| Act::OtherClientSends { by_lid, way }),
        8 => operation().prop_map(Act::Operator),
        2 => prop::sample::select(vec!["DELIVERY_ACK", "READ", "ERROR"]).prop_map(Act::ReceiptComes),
        14 => model_does().prop_map(Act::ModelWill),
        14 => gateway_does().prop_map(Act::GatewayWill),
        7 => echo_does().prop_map(Act::EchoWill),
        2 => any::<bool>().prop_map(|is_told| Act::LineCloses { is_told }),
        2 => any::<bool>().prop_map(|is_told| Act::LineOpens { is_told }),
        20 => moment().prop_map(Act::WaitUntil),
    ]
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        10 => Just(Content::Text),
        3 => Just(Content::TwoTextsAtOnce),
        2 => Just(Content::VoiceNote),
        2 => Just(Content::ImageWithCaption),
        1 => Just(Content::Sticker),
    ]
}

fn owners_words() -> impl Strategy<Value = OwnersWords> {
    use OwnersWords::{HoldWord, New, ResumeWord, VeryWordsOfTheAssistant};
    prop_oneof![5 => Just(New), 2 => Just(VeryWordsOfTheAssistant), 3 => Just(ResumeWord), 1 => Just(HoldWord)]
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        6 => Just(Way::Taken),
        5 => Just(Way::Unawaited),
        2 => Just(Way::TwiceAtOnce),
        1 => Just(Way::TwiceInTurn),
        2 => (1_usize..6).prop_map(Way::Late),
        1 => Just(Way::Last),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::{LetsHoursPass, Pauses, Resumes, RetriesFailures, Sends, SendsAndPauses};
    prop_oneof![
        2 => Just(Pauses),
        4 => Just(Resumes),
        2 => Just(Sends),
        1 => Just(SendsAndPauses),
        2 => Just(RetriesFailures),
        1 => Just(LetsHoursPass),
    ]
}

fn model_does() -> impl Strategy<Value = ModelDoes> {
    use ModelDoes as M;
    prop_oneof![
        8 => (20_u64..150).prop_map(M::AnswerSlowly),
        4 => Just(M::AnswerInThreeParts),
        1 => Just(M::BeTruncated),
        3 => Just(M::Fail),
        2 => Just(M::RefuseTheRequest),
        2 => Just(M::BeBusy),
        1 => Just(M::BeOverloaded),
        1 => Just(M::BeCutMidAnswer),
        1 => Just(M::BeCutBeforeAnswer),
        1 => Just(M::SayNothing),
        1 => Just(M::SayOnlyMarks),
        1 => Just(M::Decline),
        1 => Just(M::FindItTooLong),
        1 => Just(M::TalkNonsense),
    ]
}

fn gateway_does() -> impl Strategy<Value = GatewayDoes> {
    use GatewayDoes as G;
    prop_oneof![
        4 => (20_u64..150).prop_map(G::TakeItAndAnswerLate),
        4 => (20_u64..150).prop_map(G::TakeItLate),
        3 => Just(G::TakeItAndCut),
        1 => Just(G::TakeItAndHang),
        2 => Just(G::TakeItAndSayConnectionClosed),
        1 => Just(G::TakeItAndThrow),
        1 => Just(G::SayConnectionClosedWithoutTakingIt),
        2 => Just(G::CutBefore),
        2 => Just(G::FailBefore),
        1 => Just(G::NotBeLoaded),
        1 => Just(G::NotKnowTheNumber),
        2 => Just(G::KnowItUnderTheOtherJid),
        1 => Just(G::AskToWait),
        1 => Just(G::BeABrokenProxy),
    ]
}

fn echo_does() -> impl Strategy<Value = EchoDoes> {
    use EchoDoes as E;
    prop_oneof![
        3 => Just(E::ComeBeforeTheAnswer),
        3 => (20_u64..150).prop_map(E::ComeLate),
        2 => Just(E::NeverCome),
        2 => Just(E::ComeAsUpsert),
        1 => Just(E::ComeAsBothEvents),
    ]
}

fn moment() -> impl Strategy<Value = Moment> {
    use Moment::{ASendBegins, AllIsQuiet, TheModelIsAsked};
    prop_oneof![3 => Just(TheModelIsAsked), 3 => Just(ASendBegins), 4 => Just(AllIsQuiet)]
}
