import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import javax.jms.XAConnection;
import javax.jms.XASession;
import javax.transaction.xa.XAException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQXAConnectionFactory;

/** Transactions of a transaction manager, and what is left of them after a crash. */
final class XaRecovery extends PersistentTest {
    private final Branch branch = new Branch("global", "branch");

    // After prepare and a crash.

    @Test
    void a_prepared_branch_is_listed_after_a_crash_and_its_sends_are_there_when_it_is_committed() throws Exception {
        subscribeAndLeave(topic(), "durable");
        prepareSends(branch);
        crash();
        equal(List.of(branch), recovered());
        equal(List.of(), drain(queue("A")));
        resource().commit(branch, false);
        equal(List.of(), recovered());
        crash();
        equal(List.of(), recovered());
        equal(numbers(0, 5), drain(queue("A")));
        equal(numbers(0, 5), drain(queue("B")));
        equal(numbers(0, 5), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void the_sends_of_a_prepared_branch_are_gone_when_it_is_rolled_back_after_a_crash() throws Exception {
        subscribeAndLeave(topic(), "durable");
        prepareSends(branch);
        crash();
        resource().rollback(branch);
        equal(List.of(), recovered());
        crash();
        equal(List.of(), recovered());
        equal(List.of(), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
        equal(List.of(), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void what_a_prepared_branch_took_is_gone_when_it_is_committed_after_a_crash() throws Exception {
        prepareTakes(branch, 3);
        crash();
        resource().commit(branch, false);
        equal(numbers(3, 5), drain(queue()));
        crash();
        equal(List.of(), drain(queue()));
    }

    @Test
    void what_a_prepared_branch_took_comes_again_when_it_is_rolled_back_after_a_crash() throws Exception {
        prepareTakes(branch, 3);
        crash();
        resource().rollback(branch);
        MessageConsumer consumer = auto(connect()).createConsumer(queue());
        for (String text : numbers(0, 5)) {
            Message message = take(consumer);
            equal(text, ((TextMessage) message).getText());
            equal(false, message.getJMSRedelivered(), text + " redelivered");
            equal(1, deliveryCount(message), text + " delivery count");
        }
        nothing(consumer);
    }

    @Test
    void what_a_prepared_branch_took_is_given_to_nobody_before_the_outcome() throws Exception {
        prepareTakes(branch, 3);
        equal(numbers(3, 5), drain(queue()));
        crash();
        equal(List.of(), drain(queue()));
        crash();
        MessageConsumer waiting = auto(connect()).createConsumer(queue());
        nothing(waiting);
        resource().rollback(branch);
        equal(numbers(0, 3), takeTexts(waiting, 3));
        nothing(waiting);
    }

    @Test
    void what_a_prepared_branch_of_a_durable_subscriber_took_comes_again_when_it_is_rolled_back() throws Exception {
        prepareDurableTakes();
        crash();
        equal(numbers(2, 5), takeDurable());
        resource().rollback(branch);
        equal(numbers(0, 2), takeDurable());
    }

    @Test
    void what_a_prepared_branch_of_a_durable_subscriber_took_is_gone_when_it_is_committed() throws Exception {
        prepareDurableTakes();
        crash();
        resource().commit(branch, false);
        equal(numbers(2, 5), takeDurable());
        crash();
        equal(List.of(), takeDurable());
    }

    private void prepareDurableTakes() throws Exception {
        subscribeAndLeave(topic(), "durable");
        send(auto(connect()), topic(), numbers(0, 5).toArray(String[]::new));
        XAConnection connection = xaConnection();
        connection.setClientID(name());
        connection.start();
        XASession session = connection.createXASession();
        begin(session, branch);
        takeTexts(session.createDurableSubscriber(topic(), "durable"), 2);
        prepare(session, branch);
        connection.close();
    }

    private List<String> takeDurable() throws Exception {
        ActiveMQConnection connection = identified();
        List<String> texts = takeAll(subscribe(auto(connection), topic(), "durable"));
        connection.close();
        return texts;
    }

    @Test
    void a_branch_that_moves_messages_is_all_or_nothing_after_a_crash() throws Exception {
        send(auto(connect()), queue("from"), numbers(0, 4).toArray(String[]::new));
        List<Branch> branches = List.of(new Branch("global", "one"), new Branch("global", "two"));
        for (Branch each : branches) {
            XASession session = xaSession();
            begin(session, each);
            MessageConsumer from = session.createConsumer(option(queue("from"), "consumer.prefetchSize=0"));
            MessageProducer to = session.createProducer(queue("to"));
            to.send(take(from));
            to.send(take(from));
            prepare(session, each);
        }
        crash();
        equal(sorted(branches), recovered());
        resource().commit(branches.get(0), false);
        resource().rollback(branches.get(1));
        equal(List.of("2", "3"), drain(queue("from")));
        equal(List.of("0", "1"), drain(queue("to")));
    }

    @Test
    void a_prepared_branch_outlives_several_ends() throws Exception {
        prepareSends(branch);
        crash();
        equal(List.of(branch), recovered());
        broker().stop();
        broker().startAgain();
        equal(List.of(branch), recovered());
        crash();
        resource().commit(branch, false);
        equal(numbers(0, 5), drain(queue("A")));
    }

    @Test
    void many_prepared_branches_are_listed_and_decided_one_by_one() throws Exception {
        List<Branch> branches = new ArrayList<>();
        XASession session = xaSession();
        for (int i = 0; i < 50; i++) {
            Branch each = new Branch("global " + i / 10, "branch " + i % 10);
            begin(session, each);
            send(session, queue(), "" + i);
            prepare(session, each);
            branches.add(each);
        }
        crash();
        equal(sorted(branches), recovered());
        for (int i = 0; i < 50; i++) {
            if (i % 2 == 0) {
                resource().commit(branches.get(i), false);
            } else {
                resource().rollback(branches.get(i));
            }
        }
        List<String> even = numbers(0, 50).stream().filter(number -> Integer.parseInt(number) % 2 == 0).toList();
        equal(even, drain(queue()));
    }

    @Test
    void names_of_every_length_are_listed_as_they_were_given() throws Exception {
        List<Branch> branches = List.of(new Branch("g", ""), new Branch("g".repeat(64), "b".repeat(64)),
                new Branch(0, "\u0000\u00ff\u007f\u0080", "\u0000"), new Branch(Integer.MAX_VALUE, "\u0001", "\u00ff"));
        XASession session = xaSession();
        for (Branch each : branches) {
            begin(session, each);
            send(session, queue(), "" + each.format());
            prepare(session, each);
        }
        crash();
        equal(sorted(branches), recovered());
        for (Branch each : branches) {
            resource().commit(each, false);
        }
        equal(4, drain(queue()).size());
    }

    @Test
    void a_branch_that_was_not_prepared_leaves_nothing_after_a_crash() throws Exception {
        send(auto(connect()), queue(), "taken");
        XASession session = xaSession();
        begin(session, branch);
        take(session.createConsumer(queue()));
        send(session, queue(), "sent");
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        crash();
        equal(List.of(), recovered());
        equal(List.of("taken"), drain(queue()));
        code(XAException.XAER_NOTA, () -> resource().commit(branch, false));
    }

    @Test
    void a_commit_in_one_phase_is_there_after_a_crash() throws Exception {
        subscribeAndLeave(topic(), "durable");
        XASession session = xaSession();
        begin(session, branch);
        sendEverywhere(session);
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        session.getXAResource().commit(branch, true);
        crash();
        equal(List.of(), recovered());
        equal(numbers(0, 5), drain(queue("A")));
        equal(numbers(0, 5), drain(queue("B")));
        equal(numbers(0, 5), takeAll(subscribe(auto(identified()), topic(), "durable")));
    }

    @Test
    void a_recovered_branch_is_decided_once() throws Exception {
        prepareSends(branch);
        crash();
        resource().commit(branch, false);
        code(XAException.XAER_NOTA, () -> resource().commit(branch, false));
        code(XAException.XAER_NOTA, () -> resource().rollback(branch));
        crash();
        code(XAException.XAER_NOTA, () -> resource().commit(branch, false));
        equal(numbers(0, 5), drain(queue("A")));
    }

    @Test
    void a_forgotten_branch_is_rolled_back() throws Exception {
        prepareSends(branch);
        crash();
        resource().forget(branch);
        equal(List.of(), recovered());
        crash();
        equal(List.of(), recovered());
        equal(List.of(), drain(queue("A")));
    }

    @Test
    void a_recovered_branch_can_be_committed_in_one_phase() throws Exception {
        prepareSends(branch);
        crash();
        resource().commit(branch, true);
        equal(List.of(), recovered());
        equal(numbers(0, 5), drain(queue("A")));
    }

    // Without a crash.

    @Test
    void a_prepared_branch_outlives_its_connection() throws Exception {
        prepareSends(branch);
        equal(List.of(branch), recovered());
        equal(List.of(), drain(queue("A")));
        resource().commit(branch, false);
        equal(List.of(), recovered());
        equal(numbers(0, 5), drain(queue("A")));
    }

    @Test
    void a_branch_that_was_not_prepared_ends_with_its_connection() throws Exception {
        send(auto(connect()), queue(), "taken");
        XAConnection connection = xaConnection();
        connection.start();
        XASession session = connection.createXASession();
        begin(session, branch);
        take(session.createConsumer(queue()));
        send(session, queue(), "sent");
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        connection.close();
        equal(List.of("taken"), drain(queue()));
        code(XAException.XAER_NOTA, () -> resource().commit(branch, true));
    }

    @Test
    void a_branch_without_work_need_not_be_committed() throws Exception {
        XASession session = xaSession();
        begin(session, branch);
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        equal(XAResource.XA_RDONLY, session.getXAResource().prepare(branch));
        equal(List.of(), recovered());
        code(XAException.XAER_NOTA, () -> resource().commit(branch, false));
    }

    @Test
    void a_branch_that_nobody_began_cannot_be_decided() throws Exception {
        for (Action each : List.<Action>of(() -> resource().commit(branch, false), () -> resource().commit(branch, true),
                () -> resource().rollback(branch), () -> resource().forget(branch))) {
            contains("has not been started", code(XAException.XAER_NOTA, each).getMessage());
        }
        contains("Cannot prepare a transaction that had not been started or previously returned XA_RDONLY",
                code(XAException.XAER_RMFAIL, () -> resource().prepare(branch)).getMessage());
    }

    @Test
    void a_branch_is_not_committed_in_two_phases_before_it_is_prepared() throws Exception {
        XASession session = xaSession();
        begin(session, branch);
        send(session, queue(), "sent");
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        code(XAException.XAER_PROTO, () -> session.getXAResource().commit(branch, false));
        session.getXAResource().rollback(branch);
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_suspended_branch_goes_on_after_another() throws Exception {
        Branch other = new Branch("global", "other");
        XASession session = xaSession();
        XAResource resource = session.getXAResource();
        resource.start(branch, XAResource.TMNOFLAGS);
        send(session, queue(), "one");
        resource.end(branch, XAResource.TMSUSPEND);
        resource.start(other, XAResource.TMNOFLAGS);
        send(session, queue(), "of the other");
        resource.end(other, XAResource.TMSUCCESS);
        resource.start(branch, XAResource.TMRESUME);
        send(session, queue(), "two");
        resource.end(branch, XAResource.TMSUCCESS);
        resource.rollback(other);
        equal(XAResource.XA_OK, resource.prepare(branch));
        crash();
        equal(List.of(branch), recovered());
        resource().commit(branch, false);
        equal(List.of("one", "two"), drain(queue()));
    }

    @Test
    void a_failed_branch_is_rolled_back() throws Exception {
        send(auto(connect()), queue(), "taken");
        XASession session = xaSession();
        begin(session, branch);
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        send(session, queue(), "sent");
        session.getXAResource().end(branch, XAResource.TMFAIL);
        session.getXAResource().rollback(branch);
        consumer.close();
        equal(List.of("taken"), drain(queue()));
    }

    @Test
    void a_session_works_for_one_branch_at_a_time() throws Exception {
        XASession session = xaSession();
        begin(session, branch);
        code(XAException.XAER_PROTO, () -> begin(session, new Branch("global", "other")));
        code(XAException.XAER_PROTO, () -> session.getXAResource().end(new Branch("global", "other"),
                XAResource.TMSUSPEND));
        session.getXAResource().end(branch, XAResource.TMSUCCESS);
        session.getXAResource().rollback(branch);
    }

    // What the tests are made of.

    private XAConnection xaConnection() throws Exception {
        XAConnection connection = new ActiveMQXAConnectionFactory(url("")).createXAConnection();
        closeAfter(connection::close);
        return connection;
    }

    private XASession xaSession() throws Exception {
        XAConnection connection = xaConnection();
        connection.start();
        return connection.createXASession();
    }

    /** As a transaction manager that was started again sees the broker. */
    private XAResource resource() throws Exception {
        return xaSession().getXAResource();
    }

    private static void begin(XASession session, Xid xid) throws Exception {
        session.getXAResource().start(xid, XAResource.TMNOFLAGS);
    }

    private static void prepare(XASession session, Xid xid) throws Exception {
        session.getXAResource().end(xid, XAResource.TMSUCCESS);
        equal(XAResource.XA_OK, session.getXAResource().prepare(xid));
    }

    /** Leaves a prepared branch that sent to two queues and a topic. */
    private void prepareSends(Xid xid) throws Exception {
        XAConnection connection = xaConnection();
        XASession session = connection.createXASession();
        begin(session, xid);
        sendEverywhere(session);
        prepare(session, xid);
        connection.close();
    }

    private void sendEverywhere(Session session) throws Exception {
        for (String text : numbers(0, 5)) {
            send(session, queue("A"), text);
            send(session, topic(), text);
            send(session, queue("B"), text);
        }
    }

    /** Leaves a prepared branch that took the first of five messages. */
    private void prepareTakes(Xid xid, int count) throws Exception {
        send(auto(connect()), queue(), numbers(0, 5).toArray(String[]::new));
        XAConnection connection = xaConnection();
        connection.start();
        XASession session = connection.createXASession();
        begin(session, xid);
        takeTexts(session.createConsumer(queue()), count);
        prepare(session, xid);
        connection.close();
    }

    /** The branches that wait for a decision. */
    private List<Branch> recovered() throws Exception {
        return sorted(Arrays.stream(resource().recover(XAResource.TMSTARTRSCAN)).map(Branch::of).toList());
    }

    private static List<Branch> sorted(List<Branch> branches) {
        return branches.stream().sorted(Comparator.comparing(Branch::toString)).toList();
    }

    private static XAException code(int expected, Action action) {
        XAException refusal = refused(XAException.class, action);
        equal(expected, refusal.errorCode, "code of " + refusal);
        return refusal;
    }
}
