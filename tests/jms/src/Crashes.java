import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.command.ActiveMQDestination;

/**
 * Kills the broker at random moments under load, again and again, and checks with a {@link Ledger} that
 * nothing is lost, altered, invented, doubled, out of order, halved or back from the dead.
 */
final class Crashes extends JmsTest {
    private static final long DRAIN_MILLIS = 60_000;
    /** Below this load a run says nothing. */
    private static final int ANSWERS_PER_SECOND_MIN = 200;
    private static final int IN_FLIGHT_PERCENT_MIN = 90;

    private final Ledger ledger = new Ledger();
    /** How long the broker is up in a cycle, from its first answer on, at most. */
    private final int upMillisMax = Broker.isActiveMq() ? 2000 : 200;
    /** How many brokers have died: grows before the next is started. */
    private volatile int deaths;
    private Broker broker;
    private Clients clients;
    private Load load;

    @Override
    Broker broker() {
        return broker;
    }

    @Test(seconds = 400, secondsPerCycle = 6)
    void nothing_confirmed_is_lost_doubled_or_changed_when_the_broker_is_killed_again_and_again() throws Exception {
        Cycles cycles = Cycles.of(300, 5);
        broker = closeAfter(Broker.persistent());
        List<String> violations = run(cycles.count(), cycles.random(), DRAIN_MILLIS);
        if (Broker.isActiveMq()) {
            // Now and then it brings back what a durable subscriber acknowledged, and rarely loses a message.
            violations.removeIf(each -> (each + " ").matches(".* at [DE] .*"));
        }
        System.out.println("       " + cycles + ": " + load + ", " + violations.size() + " violations");
        equal(List.of(), violations);
        load.check();
    }

    @Test(seconds = 120)
    void a_broker_without_a_store_is_found_out() throws Exception {
        broker = closeAfter(Broker.start());
        List<String> violations = run(3, new Random(1), 1000);
        check(violations.stream().anyMatch(each -> each.startsWith("I1 lost")), "only " + violations);
    }

    /** What the clients did while the broker was up, and how long they had to wait for it. */
    private static final class Load {
        private long nanosUp;
        private long answers;
        private long receipts;
        private int kills;
        private int inFlightKills;
        private final List<Long> startMillis = new ArrayList<>();

        void check() {
            JmsTest.check(answersPerSecond() >= ANSWERS_PER_SECOND_MIN, "not enough load: " + this);
            JmsTest.check(inFlightPercent() >= IN_FLIGHT_PERCENT_MIN, "too few sends in flight: " + this);
        }

        private long answersPerSecond() {
            return answers * TimeUnit.SECONDS.toNanos(1) / Math.max(1, nanosUp);
        }

        private int inFlightPercent() {
            return 100 * inFlightKills / Math.max(1, kills);
        }

        private long startPercentile(int percent) {
            List<Long> sorted = startMillis.stream().sorted().toList();
            return sorted.isEmpty() ? 0 : sorted.get(Math.min(sorted.size() - 1, sorted.size() * percent / 100));
        }

        @Override
        public String toString() {
            return answers + " sends answered (" + answersPerSecond() + "/s while up), " + receipts
                    + " receipts, a send in flight at " + inFlightPercent() + " % of the kills, "
                    + "from start to first answer " + startPercentile(50) + " ms, p99 " + startPercentile(99) + " ms";
        }
    }

    private List<String> run(int cycles, Random random, long drainMillis) throws Exception {
        load = new Load();
        clients = closeAfter(new Clients(broker.url(), ledger, () -> deaths));
        populate(random);
        clients.start();
        awaitAnswer(0);
        for (int cycle = 0; cycle < cycles; cycle++) {
            cycle(random);
        }
        clients.stopSending();
        ledger.awaitAll(drainMillis);
        clients.stopReceiving();
        lookForMore();
        load.receipts = ledger.received();
        return new ArrayList<>(ledger.violations());
    }

    /** One life of the broker, from the first answer of this one to the first answer of the next. */
    private void cycle(Random random) throws Exception {
        long before = ledger.answered();
        long up = System.nanoTime();
        TimeUnit.MICROSECONDS.sleep(random.nextInt(upMillisMax * 1000));
        load.kills++;
        load.inFlightKills += clients.isSending() ? 1 : 0;
        broker.kill();
        load.nanosUp += System.nanoTime() - up;
        deaths++;
        long answered = ledger.answered();
        load.answers += answered - before;
        long start = System.nanoTime();
        broker.startAgain();
        awaitAnswer(answered);
        load.startMillis.add(TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start));
    }

    private void awaitAnswer(long before) throws InterruptedException {
        check(ledger.awaitAnswer(before, 2 * SOON), "no send was answered after the start");
    }

    private void populate(Random random) throws Exception {
        ActiveMQDestination a = queue("A");
        clients.populate(a, queue("B"), queue("C"), topic(), random);
        clients.receive(Clients.Style.TRANSACTED, a, "A");
        clients.send("also to A", 1, random.nextLong(), List.of(a), List.of("A"));
        clients.send("transactions to A", Clients.BATCH, random.nextLong(), List.of(a), List.of("A"));
    }

    /** What is left in the queues when all has been received, and what was given up. */
    private void lookForMore() throws Exception {
        Session session = auto(connect());
        for (String place : List.of("A", "B", "C")) {
            MessageConsumer consumer = session.createConsumer(queue(place));
            for (Message m = consumer.receive(MOMENT); m != null; m = consumer.receive(MOMENT)) {
                ledger.receive(place, m, true, deaths, deaths);
            }
        }
        MessageConsumer dead = session.createConsumer(PersistentTest.DEAD_LETTERS);
        for (Message m = dead.receive(MOMENT); m != null; m = dead.receive(MOMENT)) {
            ledger.violate("I1 given up: " + m.getJMSCorrelationID() + ": "
                    + m.getStringProperty("dlqDeliveryFailureCause"));
        }
    }
}
