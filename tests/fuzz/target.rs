//! What a target is, and what it tells of an input.

use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Result;

use crate::mutate::{Material, Shape};

/// Inputs to begin with.
pub(crate) fn seeds<const N: usize>(all: [&[u8]; N]) -> Vec<Vec<u8>> {
    all.map(<[u8]>::to_vec).into()
}

/// A decoder or state machine that takes bytes which somebody else wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Takes an input; an error says which of the target's promises was broken. A panic is a finding as well.
    pub(crate) run: fn(&[u8], &mut Trace) -> Result<()>,
    /// Inputs as they really come.
    pub(crate) corpus: fn() -> Vec<Vec<u8>>,
    pub(crate) material: Material,
    /// Its share of all inputs: cheap ones take more.
    pub(crate) weight: u64,
    pub(crate) memory: Memory,
}

/// What may be allocated for one input, all allocations added up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) fixed: usize,
    pub(crate) per_byte: usize,
}

impl Memory {
    pub(crate) fn bound(self, len: usize) -> usize {
        self.fixed + self.per_byte * len
    }
}

impl Target {
    pub(crate) const fn new(
        name: &'static str,
        run: fn(&[u8], &mut Trace) -> Result<()>,
        corpus: fn() -> Vec<Vec<u8>>,
    ) -> Self {
        /// Long enough for every layout, short enough to be quick.
        const MAX_LEN: usize = 2048;
        Self {
            name,
            run,
            corpus,
            material: Material {
                shape: Shape::Bytes,
                words: &["\0"],
                max_len: MAX_LEN,
            },
            weight: 4,
            memory: Memory {
                fixed: 4096,
                per_byte: 64,
            },
        }
    }

    pub(crate) const fn shape(mut self, shape: Shape) -> Self {
        self.material.shape = shape;
        self
    }

    pub(crate) const fn words(mut self, words: &'static [&'static str]) -> Self {
        self.material.words = words;
        self
    }

    pub(crate) const fn weight(mut self, weight: u64) -> Self {
        self.weight = weight;
        self
    }

    pub(crate) const fn memory(mut self, fixed: usize, per_byte: usize) -> Self {
        self.memory = Memory { fixed, per_byte };
        self
    }
}

/// What an input made the target do, as marks: an input that leaves a mark nobody left before is worth changing further.
#[derive(Debug)]
pub(crate) struct Trace {
    marks: Vec<u64>,
    last: u64,
    new: usize,
}

/// The marks that are told apart.
const MARKS: u64 = 1 << 16;

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            marks: vec![0; (MARKS / 64) as usize],
            last: 0,
            new: 0,
        }
    }

    /// The target did `what`: counted together with what it did before.
    pub(crate) fn saw(&mut self, what: u64) {
        let what = what.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let mark = (what ^ self.last.rotate_left(5)) % MARKS;
        self.last = what;
        let Some(word) = self.marks.get_mut((mark / 64) as usize) else {
            return;
        };
        let bit = 1 << (mark % 64);
        if *word & bit == 0 {
            *word |= bit;
            self.new += 1;
        }
    }

    /// The target took the input as `what`, or refused it with an error of this variant.
    pub(crate) fn took<T, E>(&mut self, what: u64, result: &Result<T, E>) {
        match result {
            Ok(_) => self.saw(what),
            Err(error) => self.saw(what ^ variant(error)),
        }
    }

    /// How many marks were new since the last call; the next input begins.
    pub(crate) fn fresh(&mut self) -> usize {
        self.last = 0;
        std::mem::take(&mut self.new)
    }

    /// All marks that were left.
    pub(crate) fn count(&self) -> u32 {
        self.marks.iter().map(|word| word.count_ones()).sum()
    }
}

/// A number for the variant of an enum's value.
pub(crate) fn variant<T>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(value).hash(&mut hasher);
    hasher.finish()
}

/// Reads an input as a script: choices, numbers and pieces of bytes, zero where it has ended.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else {
            return 0;
        };
        self.rest = rest;
        *first
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit.max(1)
    }

    /// So many bytes, or what is left of them.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (piece, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        piece
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }
}
