//! What a source has delivered and not yet seen settled: bounded, and the measure of what may be committed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Partition, Position, Receipt, Record, Room, Verdicts};
use crate::document::{Operation, Version};

/// One record on its way.
#[derive(Debug)]
pub struct Delivery {
    /// Kept so that it can be delivered again or dead-lettered as the source gave it.
    pub record: Record,
    /// What it does to its document and at which version, which for a record that said nothing new is that of the source's own order;
    /// `None` when that was not found out.
    pub change: Option<(Operation, Version)>,
    /// When it was admitted.
    pub since: Instant,
    /// How often it was reported lost.
    pub losses: u32,
    /// Whether its receipt is under way.
    travels: bool,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Settled,
    /// Its partition is read by someone else now: its position is not committed.
    LetGo,
}

/// The deliveries of one source from the oldest open one on. Numbers are given in the order of reading and never again.
#[derive(Debug)]
pub struct Window {
    /// How much may be delivered and not yet settled.
    limits: Room,
    /// The number of `deliveries[0]`.
    first: u64,
    deliveries: VecDeque<Delivery>,
    open: usize,
    /// Records of partitions that were taken away from this process while they were on their way: they take memory until their receipts
    /// are back. By number, what each weighs.
    abandoned: HashMap<u64, usize>,
    /// What all of them weigh.
    bytes: usize,
    /// The newest settled position of each partition that was not taken yet. By name: a file that was replaced starts over under the same
    /// one, and the ledger keeps one position per name.
    settled: BTreeMap<String, Position>,
}

impl Window {
    /// An empty window.
    pub fn new(limits: Room) -> Self {
        Self {
            limits,
            first: 0,
            deliveries: VecDeque::new(),
            open: 0,
            abandoned: HashMap::new(),
            bytes: 0,
            settled: BTreeMap::new(),
        }
    }

    /// What may be admitted now; `None` when the window is full. Settled deliveries behind an open one count too: they are
    /// given again after a crash, and that must stay bounded. So does what was let go and is still on its way: partitions that come and
    /// go while nothing gets through must not pile up.
    pub fn room(&self) -> Option<Room> {
        let records = self.limits.records.saturating_sub(self.records());
        let bytes = self.limits.bytes.saturating_sub(self.bytes);
        (records > 0 && bytes > 0).then_some(Room { records, bytes })
    }

    /// Takes a record in and numbers it.
    pub fn admit(&mut self, record: Record, change: Option<(Operation, Version)>, now: Instant) -> u64 {
        self.bytes += record.weight;
        self.open += 1;
        self.deliveries.push_back(Delivery { record, change, since: now, losses: 0, travels: false, fate: Fate::Open });
        self.first + self.deliveries.len() as u64 - 1
    }

    /// Takes in a position that no record was given with: it may be committed when all before it is settled.
    pub fn note(&mut self, position: Position, now: Instant) {
        let number = self.admit(Record::new(Bytes::new(), position, Version::OLDEST), None, now);
        self.settle(number);
    }

    /// The open delivery of this number; `None` when it was settled.
    pub fn get(&self, number: u64) -> Option<&Delivery> {
        self.deliveries.get(self.place(number)?).filter(|delivery| delivery.fate == Fate::Open)
    }

    /// Where the delivery of this number is, unless its room was given up.
    fn place(&self, number: u64) -> Option<usize> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        (place < self.deliveries.len()).then_some(place)
    }

    fn open_mut(&mut self, number: u64) -> Option<&mut Delivery> {
        let place = self.place(number)?;
        self.deliveries.get_mut(place).filter(|delivery| delivery.fate == Fate::Open)
    }

    /// The receipt that an open delivery travels with; `None` when it was settled. Its verdict must be told by [`Window::returned`].
    pub fn receipt(&mut self, number: u64, verdicts: Arc<Verdicts>) -> Option<Receipt> {
        self.open_mut(number)?.travels = true;
        Some(Receipt::new(number, verdicts))
    }

    /// Notes that the receipt of a delivery is back, whatever its verdict.
    pub fn returned(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            self.deliveries[place].travels = false;
        } else if let Some(weight) = self.abandoned.remove(&number) {
            self.bytes -= weight;
        }
    }

    /// Counts a loss of an open delivery and returns how many there were.
    pub fn lose(&mut self, number: u64) -> Option<u32> {
        let delivery = self.open_mut(number)?;
        delivery.losses += 1;
        Some(delivery.losses)
    }

    /// Settles a delivery; a second time does nothing. Returns whether it was open.
    pub fn settle(&mut self, number: u64) -> bool {
        let Some(delivery) = self.open_mut(number) else { return false };
        delivery.fate = Fate::Settled;
        self.open -= 1;
        self.advance();
        true
    }

    /// Lets go of everything that these partitions gave: it is no longer waited for, and no position of it is committed beyond what is
    /// settled without a gap. It takes room only while its receipt is under way. Returns the losses of each that was open.
    pub fn let_go(&mut self, partitions: &[Arc<Partition>]) -> Vec<u32> {
        let mut losses = Vec::new();
        for delivery in &mut self.deliveries {
            if partitions.iter().any(|partition| Arc::ptr_eq(partition, &delivery.record.position.partition)) {
                if delivery.fate == Fate::Open {
                    self.open -= 1;
                    losses.push(delivery.losses);
                }
                delivery.fate = Fate::LetGo;
            }
        }
        self.advance();
        losses
    }

    /// Gives up the room of what lies before the oldest open delivery.
    fn advance(&mut self) {
        while let Some(delivery) = self.deliveries.pop_front_if(|delivery| delivery.fate != Fate::Open) {
            let Delivery { record, travels, fate, .. } = delivery;
            if fate == Fate::LetGo && travels {
                self.abandoned.insert(self.first, record.weight);
            } else {
                self.bytes -= record.weight;
            }
            if fate == Fate::Settled {
                self.pass(record.position);
            }
            self.first += 1;
        }
    }

    fn pass(&mut self, position: Position) {
        match self.settled.get_mut(&position.partition.name) {
            Some(held) => *held = position,
            None => {
                self.settled.insert(position.partition.name.clone(), position);
            }
        }
    }

    /// The positions up to which everything is settled, the newest of each partition, since the last call: these may be committed.
    pub fn take_settled(&mut self) -> Vec<Position> {
        std::mem::take(&mut self.settled).into_values().collect()
    }

    /// Whether there are positions to commit.
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// How many deliveries are open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many deliveries take room: those from the oldest open one on, and what was let go and is still on its way.
    pub fn records(&self) -> usize {
        self.deliveries.len() + self.abandoned.len()
    }

    /// What they [weigh](Record::weight), bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many receipts are under way, also of what was let go.
    pub fn travelling(&self) -> usize {
        self.deliveries.iter().filter(|delivery| delivery.travels).count() + self.abandoned.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(partition: &Arc<Partition>, offset: u64) -> Record {
        let position = Position { partition: partition.clone(), offset, ordinal: offset };
        Record::new(Bytes::from_static(b"0123456789"), position, Version::default())
    }

    fn admit(window: &mut Window, record: Record) -> u64 {
        window.admit(record, None, Instant::now())
    }

    fn partition(name: &str) -> Arc<Partition> {
        Arc::new(Partition { name: name.into(), detail: String::new() })
    }

    #[test]
    fn is_full_by_records_or_by_bytes() {
        let file = partition("file");
        let mut window = Window::new(Room { records: 3, bytes: 1000 });
        let numbers: Vec<u64> = (1..=3).map(|offset| admit(&mut window, record(&file, offset))).collect();
        assert!(window.room().is_none());
        window.settle(numbers[1]);
        assert!(window.room().is_none(), "what is settled behind an open delivery still counts");
        assert_eq!((window.open(), window.records()), (2, 3));
        window.settle(numbers[0]);
        assert_eq!(window.room().unwrap().records, 2);

        let mut window = Window::new(Room { records: 100, bytes: 15 });
        admit(&mut window, record(&file, 1));
        assert_eq!(window.room().unwrap().bytes, 5);
        admit(&mut window, record(&file, 2));
        assert!(window.room().is_none());
    }

    #[test]
    fn a_position_without_a_record_is_committed_behind_what_was_given_before() {
        let (file, gone) = (partition("file"), partition("gone"));
        let mut window = Window::new(Room { records: 3, bytes: 1000 });
        let number = admit(&mut window, record(&file, 1));
        let noted = Position { partition: gone, offset: 7, ordinal: 2 };
        window.note(noted.clone(), Instant::now());
        assert_eq!((window.open(), window.bytes(), window.take_settled()), (1, 10, vec![]));
        window.settle(number);
        assert_eq!(window.take_settled(), [record(&file, 1).position, noted]);
        assert_eq!((window.open(), window.records()), (0, 0));
    }

    #[test]
    fn a_record_takes_the_room_that_it_weighs_until_it_is_settled() {
        let file = partition("file");
        let mut window = Window::new(Room { records: 3, bytes: 1000 });
        let light = admit(&mut window, record(&file, 1));
        let heavy = admit(&mut window, Record { weight: 600, payload: Bytes::new(), ..record(&file, 2) });
        assert_eq!((window.bytes(), window.room().unwrap().bytes), (610, 390));
        admit(&mut window, Record { weight: 600, ..record(&file, 3) });
        assert!(window.room().is_none());
        window.settle(light);
        window.settle(heavy);
        assert_eq!((window.bytes(), window.room().unwrap().bytes), (600, 400));
    }

    #[test]
    fn a_loss_is_counted_only_while_the_delivery_is_open() {
        let mut window = Window::new(Room { records: 3, bytes: 1000 });
        let number = admit(&mut window, record(&partition("file"), 1));
        assert_eq!((window.lose(number), window.lose(number)), (Some(1), Some(2)));
        assert!(window.settle(number));
        assert_eq!(window.lose(number), None);
        assert!(!window.settle(number));
    }

    #[test]
    fn what_is_let_go_is_waited_for_by_nobody_and_its_positions_are_not_committed() {
        let (gone, kept) = (partition("gone"), partition("kept"));
        let mut window = Window::new(Room { records: 5, bytes: 1000 });
        let numbers: Vec<u64> = [(&gone, 1), (&kept, 1), (&gone, 2), (&gone, 3), (&kept, 2)]
            .map(|(partition, offset)| admit(&mut window, record(partition, offset)))
            .to_vec();
        window.settle(numbers[0]);
        window.settle(numbers[3]);
        window.lose(numbers[2]);
        assert_eq!(window.let_go(std::slice::from_ref(&gone)), [1], "one was open");
        assert_eq!(window.open(), 2);
        assert!(!window.settle(numbers[2]), "a verdict that comes later speaks to nobody");
        window.settle(numbers[1]);
        window.settle(numbers[4]);
        let committed: Vec<_> = window.take_settled().iter().map(|at| (at.partition.name.clone(), at.offset)).collect();
        assert_eq!(committed, [("gone".to_owned(), 1), ("kept".to_owned(), 2)]);
        assert_eq!((window.open(), window.bytes()), (0, 0));
        // What comes back of it is another partition of the same name.
        let again = admit(&mut window, record(&partition("gone"), 2));
        window.settle(again);
        assert_eq!(window.take_settled()[0].offset, 2);
    }

    #[test]
    fn a_window_of_many_partitions_passes_them_all_at_once() {
        // Compared with each other they would take minutes.
        const FILES: u64 = 200_000;
        let mut window = Window::new(Room { records: FILES as usize, bytes: usize::MAX });
        for file in 0..FILES {
            admit(&mut window, record(&partition(&format!("a folder of many files/{file}")), 1));
        }
        for number in (0..FILES).rev() {
            window.settle(number);
        }
        assert_eq!(window.take_settled().len(), FILES as usize);
    }

    #[test]
    fn what_is_let_go_takes_room_until_its_receipt_is_back() {
        let (gone, kept) = (partition("gone"), partition("kept"));
        let mut window = Window::new(Room { records: 4, bytes: 1000 });
        let verdicts = Verdicts::new(|| {});
        let [travels, back, _never_sent] = [1, 2, 3].map(|offset| admit(&mut window, record(&gone, offset)));
        let receipts = [travels, back].map(|number| window.receipt(number, verdicts.clone()).unwrap());
        window.returned(back);
        window.let_go(&[gone]);
        assert_eq!((window.open(), window.bytes(), window.travelling()), (0, 10, 1));
        assert_eq!(window.room(), Some(Room { records: 3, bytes: 990 }), "one is on its way");
        let other = admit(&mut window, record(&kept, 1));
        window.returned(travels);
        assert_eq!(window.travelling(), 0);
        window.returned(travels);
        assert_eq!(window.room(), Some(Room { records: 3, bytes: 990 }), "the other partition's alone");
        window.settle(other);
        assert_eq!(window.room(), Some(Room { records: 4, bytes: 1000 }));
        assert!(window.receipt(travels, verdicts).is_none());
        drop(receipts);
    }

    #[test]
    fn what_is_let_go_behind_an_open_delivery_takes_its_room_once() {
        let (gone, kept) = (partition("gone"), partition("kept"));
        let mut window = Window::new(Room { records: 4, bytes: 1000 });
        let open = admit(&mut window, record(&kept, 1));
        let [travels, back] = [1, 2].map(|offset| admit(&mut window, record(&gone, offset)));
        let receipts = [travels, back].map(|number| window.receipt(number, Verdicts::new(|| {})).unwrap());
        window.let_go(&[gone]);
        assert_eq!(window.room(), Some(Room { records: 1, bytes: 970 }));
        window.returned(back);
        window.settle(open);
        assert_eq!(window.room(), Some(Room { records: 3, bytes: 990 }), "one is on its way");
        window.returned(travels);
        assert_eq!(window.room(), Some(Room { records: 4, bytes: 1000 }));
        drop(receipts);
    }

    proptest! {
        /// A committed position never passes an open delivery, and all are passed in the end.
        #[test]
        fn commits_exactly_the_contiguous_settled_part(order in Just((0..40u64).collect::<Vec<_>>()).prop_shuffle()) {
            let parts = [partition("a"), partition("b")];
            let mut window = Window::new(Room { records: 100, bytes: 10_000 });
            for offset in 0..40 {
                admit(&mut window, record(&parts[offset as usize % 2], offset + 1));
            }
            let mut settled = [false; 40];
            let mut committed = [0, 0];
            for number in order {
                window.settle(number);
                settled[number as usize] = true;
                for position in window.take_settled() {
                    committed[usize::from(position.partition.name == "b")] = position.offset;
                }
                let contiguous = settled.iter().take_while(|settled| **settled).count() as u64;
                for (part, offset) in committed.iter().enumerate() {
                    let expected = (1..=contiguous).rev().find(|offset| (offset - 1) % 2 == part as u64).unwrap_or(0);
                    prop_assert_eq!(*offset, expected);
                }
            }
            prop_assert_eq!((window.open(), window.bytes()), (0, 0));
        }
    }
}
