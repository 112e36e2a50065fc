//! Schedules: which step comes next, drawn from a seed, and the moods that make rare accidents common.

/// A small generator with a stable sequence (splitmix64).
#[derive(Clone)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            None
        } else {
            Some(from[self.below(from.len())])
        }
    }
}

macro_rules! actions {
    ($($name:ident = $weight:literal,)*) => {
        /// A step of the world.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Action { $($name),* }

        /// Every step with how often it comes in an even mood.
        const ACTIONS: &[(Action, u32)] = &[$((Action::$name, $weight)),*];
    };
}

actions! {
    OpenWrite = 50, WriteCommit = 50, Flush = 80, BecomeVisible = 60, Acknowledge = 60,
    StartRead = 200, Execute = 240, Answer = 200, RedisWrite = 50,
    Receive = 60, Replay = 90, SampleStandby = 60, SamplePrimary = 160, LearnPrimary = 15,
    StartPublisher = 40, Decode = 120, Poll = 70, AskHeartbeat = 50, Send = 110, Confirm = 20, LateMessage = 10,
    Apply = 260, RenewLease = 60, MoveSession = 25, Nudge = 8,
    Failover = 5, Crash = 4, RestartStandby = 6, Repoint = 8, RedisLoses = 3, RestartProxy = 3, LoseMessage = 4, LoseSlot = 2,
}

impl Action {
    fn is_fault(self) -> bool {
        use Action::{
            Crash, Failover, LoseMessage, LoseSlot, RedisLoses, Repoint, RestartProxy, RestartStandby,
        };
        matches!(
            self,
            Failover | Crash | RestartStandby | Repoint | RedisLoses | RestartProxy | LoseMessage | LoseSlot
        )
    }
}

/// What a seed's world is inclined to. Violations that need a rare sequence are looked for where it is common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// Everything happens.
    Even,
    /// The primary crashes with commits that were visible before they were flushed.
    Crashes,
    /// Standbys restart and go back in replay.
    StandbyRestarts,
    /// Primaries are superseded and live on.
    Failovers,
    /// Proxies start anew, publishers and slots too.
    Restarts,
    /// Messages get lost.
    Losses,
    /// The primary crashes, and its publisher is long in coming back.
    SlowStarts,
    /// Answers are long under way.
    SlowAnswers,
    /// The primary crashes while answers are under way.
    CrashesInFlight,
    /// The slot is lost again and again, while commits wait to become visible.
    SlotLosses,
}

pub(crate) const MOODS: [Mood; 10] = [
    Mood::Even,
    Mood::Crashes,
    Mood::StandbyRestarts,
    Mood::Failovers,
    Mood::Restarts,
    Mood::Losses,
    Mood::SlowStarts,
    Mood::SlowAnswers,
    Mood::CrashesInFlight,
    Mood::SlotLosses,
];

impl Mood {
    /// How many transactions in a hundred don't wait for their commit to be flushed.
    pub(crate) fn asynchronous(self) -> usize {
        if matches!(self, Mood::Crashes | Mood::SlowStarts | Mood::CrashesInFlight) {
            70
        } else {
            20
        }
    }

    /// How often in a hundred a proxy takes another server for the primary.
    pub(crate) fn flap(self, rng: &mut Rng) -> usize {
        let drawn = [0, 3, 10, 25][rng.below(4)];
        if self == Mood::Failovers { 25 } else { drawn }
    }

    /// By how much this mood multiplies the weight of a step, in sixteenths.
    fn factor(self, action: Action) -> u32 {
        use Action::*;
        match (self, action) {
            (Mood::Crashes | Mood::SlowStarts, Crash) => 48,
            (Mood::Crashes | Mood::SlowStarts, Flush) => 4,
            (Mood::SlowStarts, StartPublisher | OpenWrite | Nudge) => 2,
            (Mood::StandbyRestarts, RestartStandby) => 96,
            (Mood::StandbyRestarts, Replay | Receive | SampleStandby) => 24,
            (Mood::Failovers, Failover | Repoint) => 64,
            (Mood::Failovers, RenewLease) => 8,
            (Mood::Restarts, RestartProxy | LoseSlot | Confirm) => 64,
            (Mood::Restarts, BecomeVisible) => 8,
            (Mood::Losses, LoseMessage) => 120,
            (Mood::Losses, Nudge) => 48,
            (Mood::CrashesInFlight, Answer) => 3,
            (Mood::CrashesInFlight, Crash | StartPublisher) => 64,
            (Mood::CrashesInFlight, Flush) => 4,
            (Mood::CrashesInFlight, Send | Apply) => 32,
            (Mood::CrashesInFlight, OpenWrite) => 8,
            (Mood::SlowAnswers, Answer) => 1,
            (Mood::SlotLosses, LoseSlot) => 128,
            (Mood::SlotLosses, StartPublisher) => 64,
            (Mood::SlotLosses, BecomeVisible) => 4,
            _ if self == Mood::Even => 16,
            (_, action) if action.is_fault() => 4,
            _ => 16,
        }
    }
}

/// The steps of a seed, each with its own source of chance, so that a shorter schedule replays the same way.
pub(crate) fn schedule(seed: u64, mood: Mood, length: usize) -> impl Iterator<Item = (Action, Rng)> {
    let mut rng = Rng(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 77);
    let calm = [1, 2, 4, 16][rng.below(4)];
    let mut total = 0;
    let weights: Vec<(Action, u32)> = ACTIONS
        .iter()
        .map(|(action, base)| {
            let frequency = [1, 10, 4, 4, 4, 4][rng.below(6)];
            let mut weight = base * frequency * mood.factor(*action);
            if action.is_fault() && mood == Mood::Even {
                weight = if rng.percent(40) { 0 } else { weight * calm / 16 };
            }
            total += weight;
            (*action, total)
        })
        .collect();
    (0..length).map(move |_| {
        let drawn = rng.below(total as usize) as u32;
        let action = weights[weights.partition_point(|(_, sum)| *sum <= drawn)].0;
        (action, Rng(rng.next()))
    })
}
