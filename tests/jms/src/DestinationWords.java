import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.ResourceAllocationException;
import javax.jms.Session;
import javax.jms.TemporaryQueue;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTextMessage;
import org.apache.activemq.command.ActiveMQTopic;
import org.apache.activemq.command.BrokerId;
import org.apache.activemq.command.DestinationInfo;
import org.apache.activemq.command.MessageId;
import org.apache.activemq.command.ProducerId;
import org.apache.activemq.command.ProducerInfo;
import org.apache.activemq.command.SessionId;

/** Attributes of the broker and of its plugins that are not on by default, on a broker with a store. */
final class DestinationWords extends ConfiguredTest {
    private static final long SWEEP = 400;

    @Override
    Broker.Configuration configuration() {
        // A word of ActiveMQ 5.17.3 and later.
        String uncommitted = Broker.isActiveMq() ? "" : "maxUncommittedCount=\"3\"";
        return Broker.Configuration.PLAIN.stored("").attributes("""
                keepDurableSubsActive="false" cacheTempDestinations="true" timeBeforePurgeTempDestinations="60000"
                schedulePeriodForDestinationPurge="%d" maxPurgedDestinationsPerSweep="1" %s
                useMirroredQueues="true" useTempMirroredQueues="false"
                """.formatted(SWEEP, uncommitted)).policies("""
                <policyEntry queue="Idle.>" gcInactiveDestinations="true" inactiveTimeoutBeforeGC="100"/>
                """).elements("""
                <plugins>
                  <timeStampingBrokerPlugin futureOnly="true" processNetworkMessages="true"/>
                </plugins>
                """);
    }

    private ActiveMQQueue q(String kind) {
        return new ActiveMQQueue(kind + "." + name());
    }

    private static SessionId sessionId(Session session) throws Exception {
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer)
                session.createConsumer(new ActiveMQTopic("DestinationWords.id"));
        consumer.close();
        return consumer.getConsumerId().getParentId();
    }

    // Durable subscriptions that are not kept active.

    private ActiveMQConnection subscriber() throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(name());
        connection.start();
        return connection;
    }

    @Test
    void what_is_not_persistent_misses_a_durable_subscriber_that_is_away() throws Exception {
        ActiveMQConnection first = subscriber();
        MessageConsumer here = auto(first).createDurableSubscriber(topic(), "s");
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(topic());
        producer.send(session.createTextMessage("persistent"), DeliveryMode.PERSISTENT, 4, 0);
        producer.send(session.createTextMessage("light"), DeliveryMode.NON_PERSISTENT, 4, 0);
        equal(List.of("persistent", "light"), takeTexts(here, 2));
        first.close();
        producer.send(session.createTextMessage("light and away"), DeliveryMode.NON_PERSISTENT, 4, 0);
        producer.send(session.createTextMessage("persistent and away"), DeliveryMode.PERSISTENT, 4, 0);
        settle(session);
        MessageConsumer back = auto(subscriber()).createDurableSubscriber(topic(), "s");
        equal("persistent and away", takeText(back));
        producer.send(session.createTextMessage("light again"), DeliveryMode.NON_PERSISTENT, 4, 0);
        equal("light again", takeText(back));
        nothing(back);
    }

    @Test
    void what_a_durable_subscriber_left_unacknowledged_comes_again() throws Exception {
        ActiveMQConnection first = subscriber();
        MessageConsumer here = client(first).createDurableSubscriber(topic(), "s");
        send(auto(connect()), topic(), "0", "1", "2");
        equal("0", takeText(here));
        first.close();
        MessageConsumer back = auto(subscriber()).createDurableSubscriber(topic(), "s");
        Message again = take(back);
        equal("0", ((TextMessage) again).getText());
        check(again.getJMSRedelivered(), "it is not marked");
        equal(List.of("1", "2"), takeTexts(back, 2));
    }

    // Temporary destinations.

    @Test
    void a_cached_temporary_queue_comes_back_empty_with_its_connection() throws Exception {
        Proxy proxy = closeAfter(new Proxy(broker().port()));
        ActiveMQConnection connection = connectTo("failover:(" + proxy.url()
                + ")?initialReconnectDelay=10&maxReconnectDelay=50");
        Session session = auto(connection);
        TemporaryQueue replies = session.createTemporaryQueue();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        send(other, replies, "before");
        MessageConsumer told = auto(connect()).createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.TempQueue"));
        proxy.refuse();
        awaitRemoval(told, (ActiveMQDestination) replies);
        proxy.admit();
        send(session, queue(), "the connection is back");
        MessageConsumer consumer = session.createConsumer(replies);
        send(other, replies, "after");
        equal("after", takeText(consumer));
    }

    private static void awaitRemoval(MessageConsumer told, ActiveMQDestination of) throws Exception {
        while (true) {
            DestinationInfo info = (DestinationInfo) ((ActiveMQMessage) take(told)).getDataStructure();
            if (info.isRemoveOperation() && of.equals(info.getDestination())) {
                return;
            }
        }
    }

    @Test
    void a_temporary_queue_that_was_deleted_is_gone_though_it_is_cached() throws Exception {
        Session session = auto(connect());
        TemporaryQueue gone = session.createTemporaryQueue();
        Session other = auto(connect("jms.watchTopicAdvisories=false"));
        send(other, gone, "x");
        gone.delete();
        try {
            send(other, gone, "y");
            check(false, "it was sent");
        } catch (javax.jms.JMSException expected) {
            contains("temp-queue://", "" + expected.getMessage());
        }
    }

    @Test
    void temporary_queues_have_no_mirror_where_the_broker_says_so() throws Exception {
        Session session = auto(connect());
        MessageConsumer mirrors = session.createConsumer(new ActiveMQTopic("VirtualTopic.Mirror.>"));
        TemporaryQueue replies = session.createTemporaryQueue();
        send(session, replies, "reply");
        equal("reply", takeText(session.createConsumer(replies)));
        send(session, queue(), "mirrored");
        Message copy = take(mirrors);
        equal("mirrored", ((TextMessage) copy).getText());
    }

    // Idle destinations.

    @Test
    void a_sweep_removes_no_more_idle_destinations_than_it_may() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer told = session.createConsumer(new ActiveMQTopic("ActiveMQ.Advisory.Queue"));
        List<ActiveMQQueue> queues = new ArrayList<>();
        for (String each : numbers(0, 4)) {
            queues.add(new ActiveMQQueue("Idle." + each + "." + name()));
            session.createConsumer(queues.get(queues.size() - 1)).close();
        }
        List<Long> removed = new ArrayList<>();
        while (removed.size() < 4) {
            DestinationInfo info = (DestinationInfo) ((ActiveMQMessage) take(told)).getDataStructure();
            if (info.isRemoveOperation() && queues.contains(info.getDestination())) {
                removed.add(System.nanoTime());
            }
        }
        long millis = TimeUnit.NANOSECONDS.toMillis(removed.get(3) - removed.get(0));
        check(millis >= 2 * SWEEP, "four were removed in " + millis + " ms");
    }

    // Transactions.

    @Test
    void a_transaction_may_be_limited_in_what_it_sends() throws Exception {
        if (Broker.isActiveMq()) {
            return;
        }
        ActiveMQConnection connection = connect("jms.alwaysSyncSend=true");
        Session session = transacted(connection);
        send(session, queue(), "0", "1", "2");
        ResourceAllocationException refusal = refused(ResourceAllocationException.class,
                () -> send(session, queue(), "3"));
        contains("maximum allowed number of pending send operations before commit of '3'", refusal.getMessage());
        session.rollback();
        send(session, queue(), "4", "5", "6");
        session.commit();
        equal(List.of("4", "5", "6"), drain(queue()));
    }

    // The clock of the broker.

    /** Sends a message as a client with another clock would, and gives back what arrives. */
    private Message stamped(long timestamp, long expiration, BrokerId... passed) throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        ProducerId producer = new ProducerId(sessionId(session), 1000);
        ProducerInfo info = new ProducerInfo(producer);
        info.setDestination(queue());
        connection.syncSendPacket(info);
        ActiveMQTextMessage message = new ActiveMQTextMessage();
        message.setText("x");
        message.setDestination(queue());
        message.setMessageId(new MessageId(producer, 1));
        message.setProducerId(producer);
        message.setTimestamp(timestamp);
        message.setExpiration(expiration);
        message.setPersistent(true);
        message.setBrokerPath(passed.length == 0 ? null : passed);
        message.onSend();
        connection.syncSendPacket(message);
        Message arrived = take(session.createConsumer(queue()));
        connection.close();
        return arrived;
    }

    @Test
    void a_message_gets_the_brokers_time_only_where_it_lives_the_longer_for_it() throws Exception {
        long now = System.currentTimeMillis();
        long hour = TimeUnit.HOURS.toMillis(1);
        Message ahead = stamped(now + hour, now + hour + 60_000);
        equal(now + hour, ahead.getJMSTimestamp());
        equal(now + hour + 60_000, ahead.getJMSExpiration());
        Message behind = stamped(now - hour, now - hour + 60_000);
        check(behind.getJMSTimestamp() >= now, "timestamp " + behind.getJMSTimestamp());
        equal(60_000L, behind.getJMSExpiration() - behind.getJMSTimestamp());
        Message immortal = stamped(now - hour, 0);
        check(immortal.getJMSTimestamp() >= now, "timestamp " + immortal.getJMSTimestamp());
        equal(0L, immortal.getJMSExpiration());
    }

    @Test
    void a_message_from_another_broker_may_get_the_time_of_this_one_too() throws Exception {
        long now = System.currentTimeMillis();
        Message message = stamped(now - 10_000, 0, new BrokerId("ID:other"));
        check(message.getJMSTimestamp() >= now, "timestamp " + message.getJMSTimestamp());
    }
}
