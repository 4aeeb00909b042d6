import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQMessageConsumer;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;

/** Messages whose time is over. */
final class Expiry extends JmsTest {
    private static final long SHORT = 200;

    @Test
    void an_expired_message_is_not_delivered_and_others_are() throws Exception {
        Session session = auto(connect());
        Message expiring = sendExpiring(session, queue(), DeliveryMode.PERSISTENT);
        send(session, queue(), "lasting");
        await(expiring);
        MessageConsumer consumer = session.createConsumer(queue());
        equal("lasting", takeText(consumer));
        nothing(consumer);
    }

    @Test
    void a_message_that_is_received_in_time_is_delivered() throws Exception {
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(queue());
        producer.setTimeToLive(60_000);
        producer.send(session.createTextMessage("in time"));
        equal("in time", takeText(session.createConsumer(queue())));
    }

    @Test
    void an_expired_persistent_message_goes_to_the_dead_letter_queue() throws Exception {
        Session session = auto(connect());
        Message expiring = sendExpiring(session, queue(), DeliveryMode.PERSISTENT);
        await(expiring);
        nothing(session.createConsumer(queue()));
        ActiveMQMessage dead = takeDead();
        equal(expiring.getJMSMessageID(), dead.getJMSMessageID());
        equal(queue(), dead.getOriginalDestination());
        equal(0L, dead.getJMSExpiration());
        equal(expiring.getJMSExpiration(), dead.getLongProperty("originalExpiration"));
        contains("Message Expired", dead.getStringProperty("dlqDeliveryFailureCause"));
    }

    @Test
    void an_expired_message_without_persistence_is_dropped() throws Exception {
        Session session = auto(connect());
        await(sendExpiring(session, queue(), DeliveryMode.NON_PERSISTENT));
        MessageConsumer consumer = session.createConsumer(queue());
        nothing(consumer);
        nothing(deadLetters());
    }

    @Test
    void a_message_that_expires_while_a_client_holds_it_is_not_given_to_the_application() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        ActiveMQMessageConsumer consumer = (ActiveMQMessageConsumer) session.createConsumer(queue());
        Message expiring = sendExpiring(session, queue(), DeliveryMode.PERSISTENT);
        send(session, queue(), "lasting");
        eventually("both are held", () -> consumer.getMessageSize() == 2);
        await(expiring);
        equal("lasting", takeText(consumer));
        equal(expiring.getJMSMessageID(), takeDead().getJMSMessageID());
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void the_broker_looks_for_expired_messages_by_itself() throws Exception {
        Session session = auto(connect());
        ActiveMQQueue queue = new ActiveMQQueue("Expiring." + name());
        Message expiring = sendExpiring(session, queue, DeliveryMode.PERSISTENT);
        send(session, queue, "lasting");
        equal(expiring.getJMSMessageID(), takeDead().getJMSMessageID());
        equal(List.of("lasting"), drain(queue));
    }

    @Test
    void an_advisory_tells_of_an_expired_message() throws Exception {
        Session session = auto(connect());
        MessageConsumer advisories = session.createConsumer(
                session.createTopic("ActiveMQ.Advisory.Expired.Queue." + queue().getPhysicalName()));
        Message expiring = sendExpiring(session, queue(), DeliveryMode.NON_PERSISTENT);
        await(expiring);
        nothing(session.createConsumer(queue()));
        ActiveMQMessage advisory = (ActiveMQMessage) take(advisories);
        equal("Advisory", advisory.getJMSType());
        equal(expiring.getJMSMessageID(), advisory.getStringProperty("orignalMessageId"));
        equal(expiring.getJMSMessageID(), ((ActiveMQMessage) advisory.getDataStructure()).getJMSMessageID());
    }

    @Test
    void an_expired_topic_message_is_not_delivered() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1");
        Session session = client(connection);
        MessageConsumer consumer = session.createConsumer(topic());
        send(session, topic(), "first");
        Message first = take(consumer);
        Message expiring = sendExpiring(session, topic(), DeliveryMode.NON_PERSISTENT);
        send(session, topic(), "lasting");
        await(expiring);
        first.acknowledge();
        equal("lasting", takeText(consumer));
    }

    @Test
    void what_expired_while_a_durable_subscriber_was_away_is_not_delivered() throws Exception {
        ActiveMQConnection first = unstarted(url(""));
        first.setClientID(name());
        auto(first).createDurableSubscriber(topic(), "durable");
        first.close();
        Session session = auto(connect());
        Message expiring = sendExpiring(session, topic(), DeliveryMode.PERSISTENT);
        send(session, topic(), "lasting");
        await(expiring);
        ActiveMQConnection second = unstarted(url(""));
        second.setClientID(name());
        second.start();
        MessageConsumer subscriber = auto(second).createDurableSubscriber(topic(), "durable");
        equal("lasting", takeText(subscriber));
        subscriber.close();
        auto(second).unsubscribe("durable");
    }

    @Test
    void pulling_does_not_get_an_expired_message() throws Exception {
        Session session = auto(connect("jms.prefetchPolicy.all=0"));
        MessageConsumer consumer = session.createConsumer(queue());
        Message expiring = sendExpiring(session, queue(), DeliveryMode.PERSISTENT);
        send(session, queue(), "lasting");
        await(expiring);
        equal("lasting", takeText(consumer));
        equal(null, consumer.receiveNoWait());
    }

    @Test
    void a_redelivered_message_that_expired_meanwhile_is_not_delivered() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        Message expiring = sendExpiring(session, queue(), DeliveryMode.PERSISTENT);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        await(expiring);
        connection.close();
        equal(List.of(), drain(queue()));
        equal(expiring.getJMSMessageID(), takeDead().getJMSMessageID());
    }

    private Message sendExpiring(Session session, ActiveMQDestination to, int mode) throws Exception {
        TextMessage message = session.createTextMessage("expiring");
        message.setStringProperty("marker", name());
        MessageProducer producer = session.createProducer(to);
        producer.send(message, mode, 4, SHORT);
        producer.close();
        return message;
    }

    /** Lets the time of the message pass; nothing happens then that one could wait for. */
    private static void await(Message message) throws Exception {
        for (long left = 1; left > 0; left = message.getJMSExpiration() + 20 - System.currentTimeMillis()) {
            TimeUnit.MILLISECONDS.sleep(left);
        }
    }

    private MessageConsumer deadLetters() throws Exception {
        return auto(connect()).createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"), "marker = '" + name() + "'");
    }

    private ActiveMQMessage takeDead() throws Exception {
        return (ActiveMQMessage) take(deadLetters());
    }
}
