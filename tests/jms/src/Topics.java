import java.util.ArrayList;
import java.util.List;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQTopic;

/** Topics without durable subscribers. */
final class Topics extends JmsTest {
    @Test
    void every_consumer_gets_every_message() throws Exception {
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            ActiveMQConnection connection = connect();
            consumers.add(auto(connection).createConsumer(topic()));
            consumers.add(auto(connection).createConsumer(topic()));
        }
        sendNumbers(auto(connect()), topic(), 100);
        for (MessageConsumer consumer : consumers) {
            equal(numbers(0, 100), takeTexts(consumer, 100));
        }
    }

    @Test
    void a_consumer_gets_only_what_is_sent_while_it_is_there() throws Exception {
        Session session = auto(connect());
        send(session, topic(), "before");
        MessageConsumer consumer = session.createConsumer(topic());
        send(session, topic(), "while");
        equal("while", takeText(consumer));
        consumer.close();
        send(session, topic(), "after");
        nothing(session.createConsumer(topic()));
    }

    @Test
    void a_queue_and_a_topic_of_one_name_are_two_destinations() throws Exception {
        Session session = auto(connect());
        MessageConsumer queue = session.createConsumer(queue("X"));
        MessageConsumer topic = session.createConsumer(topic("X"));
        send(session, queue("X"), "to the queue");
        send(session, topic("X"), "to the topic");
        equal("to the queue", takeText(queue));
        equal("to the topic", takeText(topic));
        nothing(queue);
        nothing(topic);
    }

    @Test
    void no_local_leaves_out_what_its_own_connection_sends() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(topic(), null, true);
        MessageConsumer both = session.createConsumer(topic(), null, false);
        MessageConsumer byOption = session.createConsumer(option(topic(), "consumer.noLocal=true"));
        send(auto(connection), topic(), "own");
        send(auto(connect()), topic(), "of another");
        equal("of another", takeText(consumer));
        equal("of another", takeText(byOption));
        equal(List.of("own", "of another"), takeTexts(both, 2));
    }

    @Test
    void topic_messages_keep_headers_and_properties() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(topic());
        Message message = session.createTextMessage("x");
        message.setIntProperty("i", 1);
        message.setJMSCorrelationID("c");
        session.createProducer(topic()).send(message);
        Message got = take(consumer);
        equal(1, got.getIntProperty("i"));
        equal("c", got.getJMSCorrelationID());
        equal(topic(), got.getJMSDestination());
        equal(message.getJMSMessageID(), got.getJMSMessageID());
    }

    @Test
    void a_client_acknowledged_topic_message_comes_again_after_recover() throws Exception {
        Session session = client(connect());
        MessageConsumer consumer = session.createConsumer(topic());
        send(session, topic(), "one");
        equal(1, deliveryCount(take(consumer)));
        session.recover();
        Message again = take(consumer);
        equal(2, deliveryCount(again));
        again.acknowledge();
        session.recover();
        nothing(consumer);
    }

    @Test
    void a_slow_consumer_keeps_the_newest_up_to_the_limit_of_its_topic() throws Exception {
        ActiveMQTopic slow = new ActiveMQTopic("Slow." + name());
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1");
        MessageConsumer consumer = client(connection).createConsumer(slow);
        Session sender = auto(connect());
        MessageConsumer fast = sender.createConsumer(slow);
        sendNumbers(sender, slow, 100);
        equal(numbers(0, 100), takeTexts(fast, 100));
        List<String> expected = new ArrayList<>(List.of("0"));
        expected.addAll(numbers(90, 100));
        equal(expected, acknowledgeAll(consumer));
    }

    @Test
    void a_slow_consumer_sets_its_own_limit() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1&"
                + "jms.prefetchPolicy.maximumPendingMessageLimit=5");
        MessageConsumer consumer = client(connection).createConsumer(topic());
        Session sender = auto(connect());
        MessageConsumer fast = sender.createConsumer(topic());
        sendNumbers(sender, topic(), 50);
        takeTexts(fast, 50);
        List<String> expected = new ArrayList<>(List.of("0"));
        expected.addAll(numbers(45, 50));
        equal(expected, acknowledgeAll(consumer));
    }

    @Test
    void a_consumer_within_its_limits_gets_everything_however_slow() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=5");
        MessageConsumer consumer = client(connection).createConsumer(topic());
        sendNumbers(auto(connect()), topic(), 500);
        equal(numbers(0, 500), acknowledgeAll(consumer));
    }

    @Test
    void a_connection_that_is_slow_loses_nothing_that_the_prefetch_has_room_for() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        MessageConsumer consumer = auto(connectTo(proxy.url())).createConsumer(topic());
        proxy.hold();
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(topic());
        producer.setDeliveryMode(javax.jms.DeliveryMode.NON_PERSISTENT);
        String filler = "x".repeat(1000);
        for (int i = 0; i < 20_000; i++) {
            producer.send(session.createTextMessage(filler + i));
        }
        send(session, queue(), "the topic has it all by now");
        takeText(session.createConsumer(queue()));
        proxy.release();
        for (int i = 0; i < 20_000; i++) {
            equal("" + i, takeText(consumer).substring(1000));
        }
    }

    @Test
    void a_slow_consumer_does_not_hold_up_another() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.topicPrefetch=1");
        client(connection).createConsumer(topic());
        Session session = auto(connect());
        MessageConsumer fast = session.createConsumer(topic());
        sendNumbers(session, topic(), 3000);
        equal(numbers(0, 3000), takeTexts(fast, 3000));
    }

    @Test
    void messages_of_one_producer_are_in_order_for_a_listener() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer consumer = auto(connection).createConsumer(topic());
        for (int round = 0; round < 5; round++) {
            sendNumbers(auto(connection), topic(), 200);
            equal(numbers(0, 200), takeTexts(consumer, 200));
        }
    }

    private static List<String> acknowledgeAll(MessageConsumer consumer) throws Exception {
        List<String> texts = new ArrayList<>();
        for (Message m = consumer.receive(SOON); m != null; m = consumer.receive(MOMENT)) {
            texts.add(((javax.jms.TextMessage) m).getText());
            m.acknowledge();
        }
        return texts;
    }
}
