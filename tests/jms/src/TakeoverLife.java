import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import javax.jms.Topic;
import javax.jms.TransactionRolledBackException;
import javax.transaction.xa.XAResource;
import javax.transaction.xa.Xid;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSession;
import org.apache.activemq.ActiveMQXAConnectionFactory;
import org.apache.activemq.ActiveMQXAConnection;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.transaction.Synchronization;
import org.apache.activemq.transport.DefaultTransportListener;

/** What a client has open lives on when the master is killed and another broker takes its place. */
final class TakeoverLife extends JmsTest {
    private Group group;

    private void startGroup() throws Exception {
        group = closeAfter(Group.start(2));
    }

    private ActiveMQConnection reconnecting(String options) throws Exception {
        return connectTo(group.failover(options));
    }

    private void failOver() throws Exception {
        group.awaitMaster().kill();
    }

    /**
     * Fails over, and waits until the client has noticed. Before, it may send a commit into the old socket;
     * it takes that for in doubt then, and rolls back.
     */
    private void failOverUnder(ActiveMQConnection connection) throws Exception {
        CountDownLatch resumed = new CountDownLatch(1);
        connection.addTransportListener(new DefaultTransportListener() {
            @Override
            public void transportResumed() {
                resumed.countDown();
            }
        });
        failOver();
        check(resumed.await(SOON, TimeUnit.MILLISECONDS), "the client does not come to the next master");
    }

    @Test(seconds = 120)
    void a_transaction_in_flight_commits_at_the_next_master() throws Exception {
        startGroup();
        ActiveMQQueue queue = queue();
        ActiveMQConnection connection = reconnecting("trackMessages=true");
        Session session = transacted(connection);
        MessageProducer producer = session.createProducer(queue);
        producer.send(session.createTextMessage("one"));
        producer.send(session.createTextMessage("two"));
        failOverUnder(connection);
        producer.send(session.createTextMessage("three"));
        session.commit();
        MessageConsumer consumer = auto(reconnecting("")).createConsumer(queue);
        equal(List.of("one", "two", "three"), takeTexts(consumer, 3));
        nothing(consumer);
    }

    @Test(seconds = 120)
    void what_a_transaction_received_is_rolled_back_and_comes_again() throws Exception {
        startGroup();
        ActiveMQQueue queue = queue();
        send(auto(reconnecting("")), queue, "one");
        Session session = transacted(reconnecting(""));
        MessageConsumer consumer = session.createConsumer(queue);
        equal("one", takeText(consumer));
        failOver();
        try {
            session.commit();
            nothing(consumer);
        } catch (TransactionRolledBackException expected) {
            equal("one", takeText(consumer));
            session.commit();
        }
        nothing(consumer);
    }

    /**
     * The client repeats to the next master what it has sent in a transaction, but not what it has
     * acknowledged: a commit would send on what comes again.
     */
    @Test(seconds = 120)
    void a_transaction_whose_acknowledgement_died_with_the_master_is_not_committed_by_half() throws Exception {
        startGroup();
        ActiveMQQueue from = queue("from");
        ActiveMQQueue to = queue("to");
        send(auto(reconnecting("")), from, "one");
        ActiveMQConnection connection = reconnecting("");
        ActiveMQSession session = (ActiveMQSession) transacted(connection);
        MessageConsumer consumer = session.createConsumer(from);
        MessageProducer producer = session.createProducer(to);
        producer.send(take(consumer));
        session.getTransactionContext().addSynchronization(new Synchronization() {
            @Override
            public void beforeEnd() throws Exception {
                // The acknowledgement is sent, and the commit is not.
                failOverUnder(connection);
            }
        });
        refused(TransactionRolledBackException.class, session::commit);
        producer.send(take(consumer));
        session.commit();
        session.close();
        Session other = auto(reconnecting(""));
        equal(List.of(), takeAll(other.createConsumer(from)));
        equal(List.of("one"), takeAll(other.createConsumer(to)));
    }

    @Test(seconds = 120)
    void a_durable_subscriber_gets_what_is_published_after_the_takeover() throws Exception {
        startGroup();
        Topic topic = topic();
        ActiveMQConnection subscriber = unstarted(group.failover(""));
        subscriber.setClientID(name());
        subscriber.start();
        MessageConsumer consumer = auto(subscriber).createDurableSubscriber(topic, "durable");
        ActiveMQConnection publisher = reconnecting("");
        send(auto(publisher), topic, "before");
        equal("before", takeText(consumer));
        failOver();
        send(auto(publisher), topic, "after");
        takeAfterCut(consumer, "after");
        nothing(consumer);
    }

    @Test(seconds = 120)
    void a_reply_comes_over_a_temporary_queue_that_is_older_than_the_master() throws Exception {
        startGroup();
        ActiveMQQueue queue = queue();
        Session server = auto(reconnecting(""));
        MessageConsumer requests = server.createConsumer(queue);
        MessageProducer replies = server.createProducer(null);
        Session client = auto(reconnecting(""));
        TemporaryQueue temporary = client.createTemporaryQueue();
        MessageConsumer answers = client.createConsumer(temporary);
        for (String round : List.of("before", "after")) {
            TextMessage request = client.createTextMessage(round);
            request.setJMSReplyTo(temporary);
            MessageProducer producer = client.createProducer(queue);
            producer.send(request);
            producer.close();
            TextMessage received = takeAfterCut(requests, round);
            replies.send(received.getJMSReplyTo(), server.createTextMessage("re: " + round));
            equal("re: " + round, takeText(answers));
            if (round.equals("before")) {
                failOver();
            }
        }
    }

    @Test(seconds = 120)
    void what_is_scheduled_comes_once_from_the_next_master_be_it_due_before_or_after() throws Exception {
        group = closeAfter(Group.scheduling(2));
        long dueBeforeMillis = 200;
        long dueAfterMillis = Broker.isActiveMq() ? 10_000 : 3000;
        ActiveMQConnection connection = reconnecting("");
        Session session = auto(connection);
        long began = System.currentTimeMillis();
        MessageProducer producer = session.createProducer(queue());
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            boolean before = i % 2 == 0;
            TextMessage message = session.createTextMessage((before ? "before " : "after ") + i);
            message.setLongProperty("AMQ_SCHEDULED_DELAY", before ? dueBeforeMillis : dueAfterMillis);
            producer.send(message);
            expected.add(message.getText());
        }
        failOver();
        MessageConsumer consumer = session.createConsumer(queue());
        List<String> received = new ArrayList<>();
        while (received.size() < expected.size()) {
            String text = takeText(consumer);
            long waited = System.currentTimeMillis() - began;
            check(text.startsWith("before") || waited >= dueAfterMillis, text + " after " + waited + " ms");
            received.add(text);
        }
        nothing(consumer);
        Collections.sort(expected);
        Collections.sort(received);
        equal(expected, received);
    }

    @Test(seconds = 120)
    void a_prepared_branch_is_found_and_committed_at_the_next_master() throws Exception {
        startGroup();
        ActiveMQQueue queue = queue();
        ActiveMQXAConnection first = (ActiveMQXAConnection)
                new ActiveMQXAConnectionFactory(group.failover("")).createXAConnection();
        closeAfter(first::close);
        first.start();
        javax.jms.XASession session = first.createXASession();
        XAResource resource = session.getXAResource();
        Xid xid = new Branch(name(), "1");
        resource.start(xid, XAResource.TMNOFLAGS);
        session.createProducer(queue).send(session.createTextMessage("prepared"));
        resource.end(xid, XAResource.TMSUCCESS);
        equal(XAResource.XA_OK, resource.prepare(xid));
        failOver();
        ActiveMQXAConnection second = (ActiveMQXAConnection)
                new ActiveMQXAConnectionFactory(group.failover("")).createXAConnection();
        closeAfter(second::close);
        second.start();
        XAResource manager = second.createXASession().getXAResource();
        Xid[] found = manager.recover(XAResource.TMSTARTRSCAN | XAResource.TMENDRSCAN);
        equal(1, found.length);
        manager.commit(found[0], false);
        MessageConsumer consumer = auto(reconnecting("")).createConsumer(queue);
        equal("prepared", takeText(consumer));
        nothing(consumer);
    }
}
