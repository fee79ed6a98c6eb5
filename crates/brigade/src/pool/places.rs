//! Which workers could take a task, and which could give one back, found without looking at all of them.
//! What the workers are is in crew.rs; this knows their places by number only.

/// What may be done with the worker in a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rank {
    /// It waits for a task.
    Idle,
    /// It is starting, and was given nothing yet.
    Fresh,
    /// It has one task, and room for more.
    Light,
    /// It has tasks that it has not started, and room for more.
    Loaded,
    /// It has all the tasks that it may have now.
    Full,
}

const N_RANKS: usize = 5;
/// In the order in which tasks are given.
const WITH_ROOM: [Rank; 4] = [Rank::Idle, Rank::Fresh, Rank::Light, Rank::Loaded];
const BUSY: [Rank; 4] = [Rank::Full, Rank::Loaded, Rank::Light, Rank::Fresh];

/// The places by rank. Every operation but the listing takes the same time for any number of places.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_rank: [Vec<usize>; N_RANKS],
    /// For each place its rank, and where it stands in that rank's list.
    seats: Vec<Option<(Rank, usize)>>,
    /// Goes round among places of the same rank.
    turn: usize,
}

impl Places {
    /// Notes the rank of a place, or that nobody works there.
    pub(super) fn set(&mut self, place_idx: usize, rank: Option<Rank>) {
        if self.seats.len() <= place_idx {
            self.seats.resize(place_idx + 1, None);
        }
        if self.seats[place_idx].map(|(rank, _)| rank) == rank {
            return;
        }
        if let Some((old, position)) = self.seats[place_idx].take() {
            let list = &mut self.by_rank[old as usize];
            list.swap_remove(position);
            if let Some(&moved_idx) = list.get(position) {
                self.seats[moved_idx] = Some((old, position));
            }
        }
        if let Some(rank) = rank {
            let list = &mut self.by_rank[rank as usize];
            self.seats[place_idx] = Some((rank, list.len()));
            list.push(place_idx);
        }
    }

    fn of(&self, rank: Rank) -> &[usize] {
        &self.by_rank[rank as usize]
    }

    /// The place that should get the next task. Among idle ones the one that became so last: it may still be awake.
    pub(super) fn with_room(&mut self) -> Option<usize> {
        let rank = WITH_ROOM.into_iter().find(|&rank| !self.of(rank).is_empty())?;
        if rank == Rank::Idle {
            return self.of(rank).last().copied();
        }
        self.turn = self.turn.wrapping_add(1);
        let list = self.of(rank);
        Some(list[self.turn % list.len()])
    }

    /// A place that waits for tasks.
    pub(super) fn idle(&self) -> Option<usize> {
        self.of(Rank::Idle).last().copied()
    }

    /// Places that may have tasks which are not started.
    pub(super) fn with_backlog(&self) -> impl Iterator<Item = usize> {
        self.of(Rank::Full).iter().chain(self.of(Rank::Loaded)).copied()
    }

    pub(super) fn has_backlog(&self) -> bool {
        !self.of(Rank::Full).is_empty() || !self.of(Rank::Loaded).is_empty()
    }

    /// Whether anybody has been given something.
    pub(super) fn has_work(&self) -> bool {
        self.has_backlog() || !self.of(Rank::Light).is_empty()
    }

    /// Places whose workers may have something to tell: all but the idle ones.
    pub(super) fn collect_busy(&self, into: &mut Vec<usize>) {
        into.clear();
        BUSY.into_iter().for_each(|rank| into.extend(self.of(rank)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_go_to_the_idle_first_and_never_to_the_full() {
        let mut places = Places::default();
        assert_eq!(places.with_room(), None);
        for (place_idx, rank) in
            [Rank::Full, Rank::Loaded, Rank::Light, Rank::Fresh, Rank::Idle].into_iter().enumerate()
        {
            places.set(place_idx, Some(rank));
        }
        for expected in (1..=4).rev() {
            assert_eq!(places.with_room(), Some(expected));
            places.set(expected, None);
        }
        assert_eq!(places.with_room(), None);
        assert!(places.has_backlog());
    }

    #[test]
    fn places_of_the_same_rank_take_turns() {
        let mut places = Places::default();
        (0..3).for_each(|place_idx| places.set(place_idx, Some(Rank::Loaded)));
        let mut seen: Vec<_> = (0..3).filter_map(|_| places.with_room()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2]);
    }

    #[test]
    fn a_place_is_in_one_list_only_wherever_it_moves() {
        let ranks =
            [Some(Rank::Idle), Some(Rank::Fresh), Some(Rank::Light), Some(Rank::Loaded), Some(Rank::Full), None];
        let mut places = Places::default();
        let mut expected = [None; 7];
        let mut random = 1_usize;
        for _ in 0..2000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (place_idx, rank) = ((random >> 33) % 7, ranks[(random >> 40) % 6]);
            places.set(place_idx, rank);
            expected[place_idx] = rank;
            for rank in ranks.into_iter().flatten() {
                let mut listed = places.of(rank).to_vec();
                listed.sort_unstable();
                assert_eq!(listed, (0..7).filter(|&idx| expected[idx] == Some(rank)).collect::<Vec<_>>());
            }
        }
    }
}
