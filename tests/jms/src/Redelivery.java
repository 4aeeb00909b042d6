import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.DeliveryMode;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;

/** What comes a second time, how often it says it has come, and when it is dead. */
final class Redelivery extends JmsTest {
    @Test
    void after_recover_messages_come_again_in_order_with_their_count() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue(), "one", "two");
        MessageConsumer consumer = session.createConsumer(queue());
        for (int round = 1; round <= 4; round++) {
            for (String text : List.of("one", "two")) {
                Message message = take(consumer);
                equal(text, ((TextMessage) message).getText());
                equal(round, deliveryCount(message), text + " delivery count");
                equal(round > 1, message.getJMSRedelivered(), text + " redelivered");
            }
            session.recover();
        }
    }

    @Test
    void what_was_delivered_and_not_acknowledged_is_marked_for_the_next_consumer() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue(), "seen", "unseen");
        take(session.createConsumer(queue()));
        session.close();
        MessageConsumer next = auto(connection).createConsumer(queue());
        Message seen = take(next);
        equal("seen", ((TextMessage) seen).getText());
        equal(true, seen.getJMSRedelivered());
        equal(2, deliveryCount(seen));
        Message unseen = take(next);
        equal("unseen", ((TextMessage) unseen).getText());
        equal(false, unseen.getJMSRedelivered());
        equal(1, deliveryCount(unseen));
    }

    @Test
    void what_was_only_prefetched_is_not_marked() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(queue());
        send(session, queue(), "one");
        eventually("it is prefetched", () ->
                ((org.apache.activemq.ActiveMQMessageConsumer) consumer).getMessageSize() == 1);
        consumer.close();
        Message message = take(auto(connection).createConsumer(queue()));
        equal(false, message.getJMSRedelivered());
        equal(1, deliveryCount(message));
    }

    @Test
    void what_a_lost_connection_held_is_marked_all_of_it() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection lost = connectTo(proxy.url());
        Session session = client(lost);
        send(session, queue(), "seen", "unseen");
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        eventually("the other is prefetched", () ->
                ((org.apache.activemq.ActiveMQMessageConsumer) consumer).getMessageSize() == 1);
        proxy.cut();
        MessageConsumer next = auto(connect()).createConsumer(queue());
        for (String text : List.of("seen", "unseen")) {
            Message message = take(next);
            equal(text, ((TextMessage) message).getText());
            equal(2, deliveryCount(message), text + " delivery count");
            equal(true, message.getJMSRedelivered(), text + " redelivered");
        }
    }

    @Test
    void the_count_goes_on_from_consumer_to_consumer() throws Exception {
        ActiveMQConnection connection = connect();
        send(auto(connection), queue(), "one");
        for (int round = 1; round <= 5; round++) {
            Session session = client(connection);
            Message message = take(session.createConsumer(queue()));
            equal(round, deliveryCount(message));
            session.close();
        }
    }

    @Test
    void a_returned_message_keeps_its_place_before_later_ones() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        sendNumbers(session, queue(), 5);
        MessageConsumer consumer = session.createConsumer(queue());
        takeTexts(consumer, 3);
        send(session, queue(), "later");
        session.close();
        equal(List.of("0", "1", "2", "3", "4", "later"), drain(queue()));
    }

    @Test
    void a_message_rolled_back_too_often_goes_to_the_dead_letter_queue() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=2");
        Session session = transacted(connection);
        sendMarked(session, DeliveryMode.PERSISTENT);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        for (int round = 1; round <= 3; round++) {
            equal(round, deliveryCount(take(consumer)));
            session.rollback();
        }
        nothing(consumer);
        ActiveMQMessage dead = takeDead();
        contains("Delivery[3] exceeds redelivery policy limit:RedeliveryPolicy", deathCause(dead));
        equal(new ActiveMQQueue("ActiveMQ.DLQ"), dead.getJMSDestination());
        equal(queue(), dead.getOriginalDestination());
        equal("kept", dead.getStringProperty("other"));
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_listener_that_keeps_throwing_sends_the_message_to_the_dead_letter_queue() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=1");
        List<Integer> counts = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch twice = new CountDownLatch(2);
        auto(connection).createConsumer(queue()).setMessageListener(message -> {
            try {
                counts.add(deliveryCount(message));
            } catch (Exception e) {
                counts.add(-1);
            }
            twice.countDown();
            throw new IllegalStateException("on purpose");
        });
        sendMarked(auto(connection), DeliveryMode.PERSISTENT);
        check(twice.await(SOON, TimeUnit.MILLISECONDS), "delivered " + counts);
        contains("Delivery[2] exceeds redelivery policy limit", deathCause(takeDead()));
        equal(List.of(1, 2), counts);
    }

    @Test
    void recover_too_often_sends_the_message_to_the_dead_letter_queue() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=1");
        Session session = client(connection);
        sendMarked(session, DeliveryMode.PERSISTENT);
        MessageConsumer consumer = session.createConsumer(queue());
        for (int round = 1; round <= 2; round++) {
            take(consumer);
            session.recover();
        }
        contains("exceeds redelivery policy limit", deathCause(takeDead()));
    }

    @Test
    void a_message_without_persistence_is_dropped_when_it_is_dead() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.maximumRedeliveries=0");
        Session session = transacted(connection);
        sendMarked(session, DeliveryMode.NON_PERSISTENT);
        sendMarked(session, DeliveryMode.PERSISTENT);
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        takeTexts(consumer, 2);
        session.rollback();
        takeDead();
        nothing(deadLetters());
        equal(List.of(), drain(queue()));
    }

    @Test
    void a_policy_of_the_queue_on_the_client_decides_the_delay() throws Exception {
        ActiveMQConnection connection = connect("jms.redeliveryPolicy.initialRedeliveryDelay=400");
        Session session = transacted(connection);
        send(session, queue(), "one");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        session.rollback();
        long start = System.nanoTime();
        take(consumer);
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        check(millis >= 300, "came after " + millis + " ms");
    }

    @Test
    void others_are_delivered_while_a_consumer_holds_back_what_it_rolled_back() throws Exception {
        ActiveMQConnection connection = connect("jms.nonBlockingRedelivery=true"
                + "&jms.redeliveryPolicy.initialRedeliveryDelay=500&jms.redeliveryPolicy.redeliveryDelay=500");
        Session session = transacted(connection);
        send(session, queue(), "first");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        session.rollback();
        send(auto(connection), queue(), "second");
        equal("second", takeText(consumer));
        session.commit();
        equal("first", takeText(consumer));
        session.commit();
    }

    private void sendMarked(Session session, int mode) throws Exception {
        MessageProducer producer = session.createProducer(queue());
        Message message = session.createTextMessage("marked");
        message.setStringProperty("marker", name());
        message.setStringProperty("other", "kept");
        producer.send(message, mode, 4, 0);
        producer.close();
    }

    /** Reads from the shared dead letter queue only what this test sent. */
    private MessageConsumer deadLetters() throws Exception {
        return auto(connect()).createConsumer(new ActiveMQQueue("ActiveMQ.DLQ"), "marker = '" + name() + "'");
    }

    private ActiveMQMessage takeDead() throws Exception {
        return (ActiveMQMessage) take(deadLetters());
    }

    private static String deathCause(Message message) throws Exception {
        return message.getStringProperty("dlqDeliveryFailureCause");
    }
}
