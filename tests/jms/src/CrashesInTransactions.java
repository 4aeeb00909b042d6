import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import javax.jms.Connection;
import javax.jms.JMSException;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.QueueBrowser;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.XAConnection;
import javax.jms.XASession;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import org.apache.activemq.ActiveMQXAConnectionFactory;
import org.apache.activemq.command.ActiveMQQueue;

/**
 * Kills the broker in every step of a transaction. The transaction takes all messages of one queue and
 * sends their successors to another queue and to a topic with a durable subscription. So after the crash
 * one of the queues has all of its messages and the other none.
 */
final class CrashesInTransactions extends PersistentTest {
    /** The messages of a transaction. */
    private static final int COUNT = 4;
    /** The latest moment of a crash after something was asked for. */
    private static final long SOON_NANOS = TimeUnit.MILLISECONDS.toNanos(6);

    /** What is done when the broker is killed; in two steps it is killed while the next one is done. */
    private enum Step { NOTHING, SOME_TAKEN, ALL_TAKEN, SOME_SENT, ALL_SENT, PREPARING, PREPARED, COMMITTING, COMMITTED }

    private enum Outcome { DONE, NOT_DONE, UNKNOWN }

    private Random random;
    private Step step;
    /** Tells in which cycle something was wrong. */
    private String where;
    /** The messages say of which generation they are; this one is in a queue, its successor may be. */
    private int generation;
    private int unknown;

    @Test(seconds = 400, secondsPerCycle = 6)
    void a_transaction_is_done_as_a_whole_or_not_at_all_wherever_the_broker_is_killed() throws Exception {
        List<Step> steps = new ArrayList<>(List.of(Step.values()));
        steps.removeAll(List.of(Step.PREPARING, Step.PREPARED));
        run(Cycles.of(350, 14), steps, this::crashLocal);
    }

    @Test(seconds = 400, secondsPerCycle = 6)
    void a_transaction_of_a_manager_is_done_as_it_decides_wherever_the_broker_is_killed() throws Exception {
        run(Cycles.of(180, 18), List.of(Step.values()), this::crashManaged);
    }

    private void run(Cycles cycles, List<Step> steps, Callable<Outcome> crash) throws Exception {
        random = cycles.random();
        subscribeAndLeave(topic(), "durable");
        send(auto(connect()), from(), texts(generation).toArray(String[]::new));
        for (int cycle = 0; cycle < cycles.count(); cycle++) {
            step = steps.get(cycle % steps.size());
            where = step + " in cycle " + cycle;
            look(crash.call());
        }
        nothing(subscribe(auto(identified()), topic(), "durable"));
        System.out.println("       " + cycles + ": " + generation + " transactions done, the client could not tell of "
                + unknown + ", none is half done");
    }

    // The two queues, between which every generation of messages moves.

    private ActiveMQQueue from() {
        return queue(generation % 2 == 0 ? "even" : "odd");
    }

    private ActiveMQQueue to() {
        return queue(generation % 2 == 0 ? "odd" : "even");
    }

    private static List<String> texts(int generation) {
        return numbers(0, COUNT).stream().map(number -> generation + "." + number).toList();
    }

    // The transaction.

    /** Crashes a transaction of a session; the client does not always hear whether it is done. */
    private Outcome crashLocal() throws Exception {
        Connection connection = open(factory(url("")).createConnection());
        Session session = transacted(connection);
        Map<Step, Action> actions = work(session);
        actions.put(Step.COMMITTED, session::commit);
        boolean answered = crash(actions);
        close(connection);
        broker().startAgain();
        if (step.compareTo(Step.COMMITTING) < 0) {
            return Outcome.NOT_DONE;
        }
        unknown += answered ? 0 : 1;
        return answered ? Outcome.DONE : Outcome.UNKNOWN;
    }

    /** Crashes a branch of a transaction manager, who asks afterwards what waits for its decision. */
    private Outcome crashManaged() throws Exception {
        Branch branch = new Branch(name().substring(0, 20), where);
        XAConnection connection = open(new ActiveMQXAConnectionFactory(url("")).createXAConnection());
        XASession session = connection.createXASession();
        XAResource resource = session.getXAResource();
        resource.start(branch, XAResource.TMNOFLAGS);
        Map<Step, Action> actions = work(session);
        actions.put(Step.PREPARED, () -> {
            resource.end(branch, XAResource.TMSUCCESS);
            resource.prepare(branch);
        });
        actions.put(Step.COMMITTED, () -> resource.commit(branch, false));
        boolean answered = crash(actions);
        close(connection);
        broker().startAgain();
        return decide(branch, answered);
    }

    private Outcome decide(Branch branch, boolean answered) throws Exception {
        XAConnection connection = open(new ActiveMQXAConnectionFactory(url("")).createXAConnection());
        XAResource resource = connection.createXASession().getXAResource();
        List<Branch> waiting = Arrays.stream(resource.recover(XAResource.TMSTARTRSCAN)).map(Branch::of).toList();
        Outcome outcome = step.compareTo(Step.PREPARED) <= 0 ? Outcome.NOT_DONE : Outcome.DONE;
        if (step == Step.PREPARING && !answered || step == Step.COMMITTING && !answered) {
            unknown++;
        } else {
            equal(step == Step.PREPARING || step == Step.PREPARED ? List.of(branch) : List.of(), waiting, where);
        }
        if (!waiting.isEmpty()) {
            equal(List.of(branch), waiting, where);
            outcome = random.nextBoolean() ? Outcome.DONE : Outcome.NOT_DONE;
            if (outcome == Outcome.DONE) {
                resource.commit(branch, false);
            } else {
                resource.rollback(branch);
            }
        }
        connection.close();
        return outcome;
    }

    private static <C extends Connection> C open(C connection) throws JMSException {
        connection.start();
        return connection;
    }

    /** Its broker is gone, and it may say so. */
    private static void close(Connection connection) {
        try {
            connection.close();
        } catch (JMSException e) {
            return;
        }
    }

    private Map<Step, Action> work(Session session) throws JMSException {
        MessageConsumer consumer = session.createConsumer(from());
        MessageProducer producer = session.createProducer(null);
        Map<Step, Action> actions = new EnumMap<>(Step.class);
        actions.put(Step.SOME_TAKEN, () -> takeTexts(consumer, COUNT / 2));
        actions.put(Step.ALL_TAKEN, () -> takeTexts(consumer, COUNT / 2));
        actions.put(Step.SOME_SENT, () -> sendOn(session, producer, 0, COUNT / 2));
        actions.put(Step.ALL_SENT, () -> sendOn(session, producer, COUNT / 2, COUNT));
        return actions;
    }

    private void sendOn(Session session, MessageProducer producer, int from, int to) throws JMSException {
        for (String text : texts(generation + 1).subList(from, to)) {
            producer.send(to(), session.createTextMessage(text));
            producer.send(topic(), session.createTextMessage(text));
        }
    }

    /** Works up to the step and kills the broker; false if the client did not hear whether that was done. */
    private boolean crash(Map<Step, Action> actions) throws Exception {
        for (Map.Entry<Step, Action> each : actions.entrySet()) {
            if (each.getKey().compareTo(step) <= 0) {
                each.getValue().run();
            }
        }
        if (step == Step.PREPARING || step == Step.COMMITTING) {
            return crashWhile(actions.get(Step.values()[step.ordinal() + 1]));
        }
        broker().kill();
        return true;
    }

    private boolean crashWhile(Action action) throws Exception {
        Broker broker = broker();
        long nanos = (long) (random.nextDouble() * SOON_NANOS);
        Thread killer = new Thread(() -> {
            LockSupport.parkNanos(nanos);
            broker.destroy();
        });
        killer.start();
        try {
            action.run();
            return true;
        } catch (JMSException | XAException e) {
            return false;
        } finally {
            killer.join();
            broker.kill();
        }
    }

    // What is there afterwards.

    private void look(Outcome outcome) throws Exception {
        Connection connection = factory(url("")).createConnection();
        connection.setClientID(name());
        Session session = transacted(open(connection));
        List<String> old = texts(session.createBrowser(from()));
        List<String> next = texts(session.createBrowser(to()));
        boolean done = old.isEmpty() && next.equals(texts(generation + 1));
        check(done || next.isEmpty() && old.equals(texts(generation)), "half done at " + where + ": " + old + next);
        check(outcome == Outcome.UNKNOWN || done == (outcome == Outcome.DONE), outcome + ", not so at " + where);
        if (done) {
            generation++;
            equal(texts(generation), takeTexts(subscribe(session, topic(), "durable"), COUNT), where);
            session.commit();
        }
        connection.close();
    }

    private static List<String> texts(QueueBrowser browser) throws JMSException {
        List<String> texts = new ArrayList<>();
        for (Object message : Collections.list(browser.getEnumeration())) {
            texts.add(((TextMessage) message).getText());
        }
        return texts;
    }
}
