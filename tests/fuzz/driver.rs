//! Runs inputs through a target and watches what they do: panics, broken promises, memory, time.

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::mutate::mutate;
use crate::random::Random;
use crate::target::{Target, Trace};

/// Counts what is allocated. Only the thread that runs inputs allocates while one runs.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// The most inputs that are kept to be changed further.
const KEPT: usize = 4096;
/// The longest that one input may take, on a busy machine.
const SLOWEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });
/// After this many findings a target's run ends.
const FINDINGS: usize = 5;
/// How often a finding is made smaller.
const SHRINKS: usize = 3000;

/// The number of the input that runs, for whoever watches from outside.
pub(crate) static RUNNING: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The words of the last panic, with its place.
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// An input that broke a promise.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) target: &'static str,
    pub(crate) input: Vec<u8>,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, input, what } = self;
        write!(f, "{target}: {what}\n    b\"{}\"", input.escape_ascii())
    }
}

/// What a run of a target came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) inputs: u64,
    pub(crate) kept: usize,
    pub(crate) marks: u32,
    /// The most that one input made the target allocate, and its length.
    pub(crate) most_allocated: (usize, usize),
    pub(crate) slowest: Duration,
    pub(crate) lasted: Duration,
    pub(crate) findings: Vec<Finding>,
}

/// What one input did.
struct Done {
    result: Result<(), String>,
    allocated: usize,
    lasted: Duration,
}

/// Keeps panics from being printed: they are findings, and told as such.
pub(crate) fn with_quiet_panics<T>(doing: impl FnOnce() -> T) -> T {
    let before = take_hook();
    set_hook(Box::new(|panic| {
        PANICKED.with_borrow_mut(|words| *words = format!("panicked: {panic}"));
    }));
    let done = doing();
    set_hook(before);
    done
}

fn run_one(target: &Target, input: &[u8], trace: &mut Trace) -> Done {
    let before = ALLOCATOR.stats().bytes_allocated;
    let began = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| (target.run)(input, trace)));
    let lasted = began.elapsed();
    let allocated = ALLOCATOR.stats().bytes_allocated - before;
    let bound = target.memory.bound(input.len());
    let result = match result {
        Err(_) => Err(PANICKED.with_borrow(Clone::clone)),
        Ok(Err(broken)) => Err(format!("{broken:#}")),
        Ok(Ok(())) if allocated > bound => Err(format!(
            "{allocated} bytes allocated for an input of {} (bound {bound})",
            input.len()
        )),
        Ok(Ok(())) if lasted > SLOWEST => Err(format!("took {lasted:?}")),
        Ok(Ok(())) => Ok(()),
    };
    Done {
        result,
        allocated,
        lasted,
    }
}

/// Runs these inputs as they are, and the target's corpus.
pub(crate) fn replay(target: &Target, inputs: &[&[u8]]) -> Vec<Finding> {
    let corpus = (target.corpus)();
    let mut trace = Trace::new();
    let mut findings = Vec::new();
    // Whatever a target makes once is made before anything is measured.
    for input in &corpus {
        let _ = run_one(target, input, &mut trace);
    }
    for input in corpus.iter().map(Vec::as_slice).chain(inputs.iter().copied()) {
        if let Err(what) = run_one(target, input, &mut trace).result {
            findings.push(Finding {
                target: target.name,
                input: input.to_vec(),
                what,
            });
        }
    }
    findings
}

/// Runs `inputs` inputs made from the corpus.
pub(crate) fn fuzz(target: &Target, inputs: u64, seed: u64) -> Outcome {
    let began = Instant::now();
    let mut random = Random::new(seed);
    let mut trace = Trace::new();
    let mut corpus = (target.corpus)();
    let mut outcome = Outcome {
        findings: replay(target, &[]),
        ..Outcome::default()
    };
    for input in &corpus {
        let _ = run_one(target, input, &mut trace);
    }
    trace.fresh();
    for number in 0..inputs {
        RUNNING.store(number, Ordering::Relaxed);
        let base = random.pick(&corpus).map_or(&[][..], Vec::as_slice);
        let other = random.pick(&corpus).map_or(&[][..], Vec::as_slice);
        let input = mutate(base, other, &target.material, &mut random);
        let done = run_one(target, &input, &mut trace);
        outcome.inputs += 1;
        outcome.slowest = outcome.slowest.max(done.lasted);
        outcome.most_allocated = outcome.most_allocated.max((done.allocated, input.len()));
        if let Err(what) = done.result {
            outcome.findings.push(shrunk(target, input, what));
            if outcome.findings.len() >= FINDINGS {
                break;
            }
        } else if trace.fresh() > 0 {
            keep(&mut corpus, input, &mut random);
        }
    }
    outcome.kept = corpus.len();
    outcome.marks = trace.count();
    outcome.lasted = began.elapsed();
    outcome
}

fn keep(corpus: &mut Vec<Vec<u8>>, input: Vec<u8>, random: &mut Random) {
    if corpus.len() < KEPT {
        corpus.push(input);
    } else {
        let at = random.below(corpus.len());
        if let Some(place) = corpus.get_mut(at) {
            *place = input;
        }
    }
}

/// A smaller input that breaks a promise as well.
fn shrunk(target: &Target, input: Vec<u8>, what: String) -> Finding {
    let (mut smallest, mut what) = (input, what);
    let mut trace = Trace::new();
    let mut piece = smallest.len() / 2;
    let mut tries = 0;
    while piece > 0 && tries < SHRINKS {
        let mut at = 0;
        while at < smallest.len() && tries < SHRINKS {
            tries += 1;
            let end = (at + piece).min(smallest.len());
            let mut smaller = smallest.clone();
            smaller.drain(at..end);
            match run_one(target, &smaller, &mut trace).result {
                Err(told) => (smallest, what) = (smaller, told),
                Ok(()) => at = end,
            }
        }
        piece /= 2;
    }
    Finding {
        target: target.name,
        input: smallest,
        what,
    }
}
