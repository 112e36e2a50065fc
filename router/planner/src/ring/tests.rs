//! What the ring promises about moves and balance.

use super::*;
use proptest::prelude::*;

fn weighted(shards: &[(u16, u32)]) -> Vec<WeightedShard> {
    let make = |(shard, weight): &(u16, u32)| WeightedShard {
        shard: ShardId(*shard),
        weight: NonZeroU32::new(*weight).unwrap(),
    };
    shards.iter().map(make).collect()
}

fn even(count: u16) -> Vec<WeightedShard> {
    weighted(&(0..count).map(|shard| (shard, 1)).collect::<Vec<_>>())
}

fn moves(old: &SlotMap, new: &SlotMap) -> Vec<(ShardId, ShardId)> {
    let owners = old.iter().zip(new.iter());
    owners
        .filter(|((_, from), (_, to))| from != to)
        .map(|((_, from), (_, to))| (from, to))
        .collect()
}

/// Largest load in percent of the exact share.
fn fullest_percent(map: &SlotMap, shards: &[WeightedShard]) -> u64 {
    let shares = shares(shards);
    let load = |shard: &WeightedShard| map.owned_by(shard.shard) as u64 * 100;
    shards
        .iter()
        .zip(shares)
        .map(|(shard, share)| load(shard).div_ceil(share.max(1)))
        .max()
        .unwrap()
}

#[test]
fn a_third_shard_moves_at_most_34_percent_and_nothing_between_the_old_two() {
    let old = propose(&even(2), 1).unwrap();
    let new = propose_from(&old, &even(3), 2).unwrap();
    let moves = moves(&old, &new);
    assert!(
        moves.len() * 100 <= 34 * usize::from(SLOT_COUNT),
        "{} slots moved",
        moves.len()
    );
    assert!(moves.iter().all(|(_, to)| *to == ShardId(2)));
    assert_eq!(new.owned_by(ShardId(2)), 5461);
    assert_eq!(new.version(), 2);
}

#[test]
fn a_ring_made_anew_for_three_shards_also_moves_little() {
    let old = propose(&even(2), 1).unwrap();
    let new = propose(&even(3), 2).unwrap();
    let moved = moves(&old, &new).len();
    assert!(moved * 100 <= 40 * usize::from(SLOT_COUNT), "{moved} slots moved");
}

/// A change of these numbers moves data in every cluster: they are part of the format.
#[test]
fn the_proposal_never_changes() {
    let map = propose(&even(2), 1).unwrap();
    let digest = map.iter().fold(0_u64, |sum, (slot, owner)| {
        sum.rotate_left(7) ^ StableHash.hash_one((slot.number(), owner.0))
    });
    expect_test::expect!["8211 6b5b2c1e119aa8d0"]
        .assert_eq(&format!("{} {digest:016x}", map.owned_by(ShardId(0))));
}

#[test]
fn what_makes_no_map_is_refused() {
    assert_eq!(propose(&[], 1), Err(RingError::NoShards));
    assert_eq!(
        propose(&weighted(&[(3, 1), (3, 2)]), 1),
        Err(RingError::DuplicateShard(ShardId(3)))
    );
    let all = even(MAX_SHARDS as u16 + 1);
    assert_eq!(propose(&all, 1), Err(RingError::TooManyShards(MAX_SHARDS + 1)));
}

#[test]
fn a_shard_that_leaves_is_the_only_one_that_gives() {
    let old = propose(&even(4), 1).unwrap();
    let staying = weighted(&[(0, 1), (1, 1), (3, 1)]);
    let new = propose_from(&old, &staying, 2).unwrap();
    assert!(moves(&old, &new).iter().all(|(from, _)| *from == ShardId(2)));
    assert_eq!(new.owned_by(ShardId(2)), 0);
    assert!(fullest_percent(&new, &staying) <= 100 + LOAD_MARGIN_PERCENT + 1);
}

prop_compose! {
    fn some_shards()(weights in prop::collection::vec(1_u32..1000, 1..8)) -> Vec<(u16, u32)> {
        (0..).zip(weights).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn load_is_bounded_whatever_the_weights(shards in some_shards()) {
        let shards = weighted(&shards);
        let map = propose(&shards, 1).unwrap();
        prop_assert_eq!(map.iter().filter(|(_, owner)| shards.iter().any(|s| s.shard == *owner)).count(), 16384);
        for (shard, share) in shards.iter().zip(shares(&shards)) {
            let bound = share + (share * LOAD_MARGIN_PERCENT).div_ceil(100);
            prop_assert!(map.owned_by(shard.shard) as u64 <= bound);
        }
    }

    #[test]
    fn a_shard_more_moves_at_most_its_share_and_only_to_itself(shards in some_shards(), weight in 1_u32..1000) {
        let old = propose(&weighted(&shards), 1).unwrap();
        let newcomer = shards.len() as u16;
        let grown: Vec<_> = shards.iter().copied().chain([(newcomer, weight)]).collect();
        let new = propose_from(&old, &weighted(&grown), 2).unwrap();
        let moves = moves(&old, &new);
        prop_assert!(moves.iter().all(|(_, to)| *to == ShardId(newcomer)));
        let share = *shares(&weighted(&grown)).last().unwrap();
        prop_assert!(moves.len() as u64 <= share);
        prop_assert_eq!(new.owned_by(ShardId(newcomer)) as u64, share);
    }

    #[test]
    fn several_in_and_out_never_move_between_shards_that_stay(
        count in 2_u16..6, leaving in 0_u16..2, joining in 0_u16..3,
    ) {
        let old = propose(&even(count), 1).unwrap();
        let after: Vec<_> = (leaving..count + joining).map(|shard| (shard, 1)).collect();
        let new = propose_from(&old, &weighted(&after), 2).unwrap();
        for (from, to) in moves(&old, &new) {
            prop_assert!(from.0 < leaving || to.0 >= count, "{from} to {to}");
        }
        prop_assert!(fullest_percent(&new, &weighted(&after)) <= 100 + LOAD_MARGIN_PERCENT + 1);
    }

    #[test]
    fn the_order_of_the_configuration_does_not_matter(shards in some_shards()) {
        let mut reversed = shards.clone();
        reversed.reverse();
        prop_assert_eq!(propose(&weighted(&shards), 1), propose(&weighted(&reversed), 1));
    }
}
