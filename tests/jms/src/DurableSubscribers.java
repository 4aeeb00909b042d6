import java.util.List;
import javax.jms.InvalidDestinationException;
import javax.jms.InvalidSelectorException;
import javax.jms.JMSException;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.Topic;
import org.apache.activemq.ActiveMQConnection;

/** The life of a durable subscription. */
final class DurableSubscribers extends JmsTest {
    private static final String NAME = "durable";

    @Test
    void what_is_sent_while_it_is_away_waits_for_it() throws Exception {
        subscribeAndLeave(topic(), null);
        sendNumbers(auto(connect()), topic(), 50);
        ActiveMQConnection connection = identified();
        equal(numbers(0, 50), takeTexts(subscribe(connection, topic(), null), 50));
        leave(connection);
    }

    @Test
    void it_gets_what_is_sent_while_it_is_there() throws Exception {
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(connection, topic(), null);
        sendNumbers(auto(connection), topic(), 50);
        equal(numbers(0, 50), takeTexts(subscriber, 50));
        leave(connection);
    }

    @Test
    void what_was_acknowledged_does_not_come_again() throws Exception {
        subscribeAndLeave(topic(), null);
        sendNumbers(auto(connect()), topic(), 5);
        ActiveMQConnection first = identified();
        equal(numbers(0, 2), takeTexts(subscribe(first, topic(), null), 2));
        first.close();
        ActiveMQConnection second = identified();
        MessageConsumer subscriber = subscribe(second, topic(), null);
        equal(numbers(2, 5), takeTexts(subscriber, 3));
        nothing(subscriber);
        leave(second);
    }

    @Test
    void what_was_not_acknowledged_comes_again_and_is_marked() throws Exception {
        ActiveMQConnection first = identified();
        Session session = client(first);
        MessageConsumer subscriber = session.createDurableSubscriber(topic(), NAME);
        send(session, topic(), "one", "two");
        take(subscriber);
        first.close();
        ActiveMQConnection second = identified();
        subscriber = subscribe(second, topic(), null);
        Message message = take(subscriber);
        equal("one", ((javax.jms.TextMessage) message).getText());
        equal(true, message.getJMSRedelivered());
        equal("two", takeText(subscriber));
        leave(second);
    }

    @Test
    void messages_without_persistence_wait_too_while_the_broker_runs() throws Exception {
        subscribeAndLeave(topic(), null);
        Session session = auto(connect());
        MessageProducer producer = session.createProducer(topic());
        producer.setDeliveryMode(javax.jms.DeliveryMode.NON_PERSISTENT);
        producer.send(session.createTextMessage("volatile"));
        ActiveMQConnection connection = identified();
        equal("volatile", takeText(subscribe(connection, topic(), null)));
        leave(connection);
    }

    @Test
    void a_selector_holds_while_it_is_away() throws Exception {
        subscribeAndLeave(topic(), "i > 1");
        sendWithNumber(3);
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(connection, topic(), "i > 1");
        equal("2", takeText(subscriber));
        nothing(subscriber);
        leave(connection);
    }

    @Test
    void another_selector_starts_the_subscription_anew() throws Exception {
        subscribeAndLeave(topic(), "i > 1");
        sendWithNumber(3);
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(connection, topic(), "i = 0");
        nothing(subscriber);
        sendWithNumber(3);
        equal("0", takeText(subscriber));
        nothing(subscriber);
        leave(connection);
    }

    @Test
    void another_topic_starts_the_subscription_anew() throws Exception {
        subscribeAndLeave(topic("A"), null);
        send(auto(connect()), topic("A"), "old");
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(connection, topic("B"), null);
        Session sender = auto(connect());
        send(sender, topic("A"), "to the old topic");
        send(sender, topic("B"), "to the new topic");
        equal("to the new topic", takeText(subscriber));
        nothing(subscriber);
        leave(connection);
    }

    @Test
    void unsubscribing_drops_what_waits() throws Exception {
        subscribeAndLeave(topic(), null);
        send(auto(connect()), topic(), "old");
        ActiveMQConnection connection = identified();
        auto(connection).unsubscribe(NAME);
        nothing(subscribe(connection, topic(), null));
        leave(connection);
    }

    @Test
    void a_second_subscriber_of_the_name_is_refused_while_the_first_is_there() throws Exception {
        ActiveMQConnection connection = identified();
        MessageConsumer first = subscribe(connection, topic(), null);
        JMSException refusal = refused(JMSException.class, () -> subscribe(connection, topic(), null));
        equal("Durable consumer is in use for client: " + name() + " and subscriptionName: " + NAME,
                refusal.getMessage());
        send(auto(connection), topic(), "one");
        equal("one", takeText(first));
        first.close();
        subscribe(connection, topic(), null);
        leave(connection);
    }

    @Test
    void unsubscribing_is_refused_while_the_subscriber_is_there() throws Exception {
        ActiveMQConnection connection = identified();
        subscribe(connection, topic(), null);
        JMSException refusal = refused(JMSException.class, () -> auto(connection).unsubscribe(NAME));
        equal("Durable consumer is in use", refusal.getMessage());
        leave(connection);
    }

    @Test
    void unsubscribing_a_name_that_is_not_there_is_refused() throws Exception {
        ActiveMQConnection connection = identified();
        InvalidDestinationException refusal =
                refused(InvalidDestinationException.class, () -> auto(connection).unsubscribe("nope"));
        equal("No durable subscription exists for clientID: " + name() + " and subscriptionName: nope",
                refusal.getMessage());
    }

    @Test
    void a_bad_selector_creates_no_subscription() throws Exception {
        ActiveMQConnection connection = identified();
        refused(InvalidSelectorException.class, () -> subscribe(connection, topic(), "a = = 1"));
        refused(InvalidDestinationException.class, () -> auto(connection).unsubscribe(NAME));
    }

    @Test
    void a_connection_without_client_id_cannot_subscribe_durably() throws Exception {
        Session session = auto(connect());
        refused(JMSException.class, () -> session.createDurableSubscriber(topic(), NAME));
    }

    @Test
    void the_same_name_under_another_client_id_is_another_subscription() throws Exception {
        ActiveMQConnection one = identified("one");
        ActiveMQConnection two = identified("two");
        MessageConsumer first = subscribe(one, topic(), null);
        MessageConsumer second = subscribe(two, topic(), null);
        send(auto(one), topic(), "both");
        equal("both", takeText(first));
        equal("both", takeText(second));
        leave(one);
        leave(two);
    }

    @Test
    void several_subscriptions_of_one_client_are_kept_apart() throws Exception {
        ActiveMQConnection connection = identified();
        Session session = auto(connection);
        MessageConsumer a = session.createDurableSubscriber(topic(), "a");
        MessageConsumer b = session.createDurableSubscriber(topic(), "b", "i = 1", false);
        MessageConsumer c = session.createDurableSubscriber(topic("other"), "c");
        sendWithNumber(2);
        equal(List.of("0", "1"), takeTexts(a, 2));
        equal("1", takeText(b));
        nothing(b);
        nothing(c);
        for (MessageConsumer each : List.of(a, b, c)) {
            each.close();
        }
        for (String each : List.of("a", "b", "c")) {
            session.unsubscribe(each);
        }
    }

    @Test
    void no_local_leaves_out_what_its_own_connection_sends() throws Exception {
        ActiveMQConnection connection = identified();
        Session session = auto(connection);
        MessageConsumer subscriber = session.createDurableSubscriber(topic(), NAME, null, true);
        send(session, topic(), "own");
        send(auto(connect()), topic(), "of another");
        equal("of another", takeText(subscriber));
        nothing(subscriber);
        leave(connection);
    }

    @Test
    void it_survives_that_its_connection_is_lost() throws Exception {
        Proxy proxy = closeAfter(new Proxy(Broker.shared().port()));
        ActiveMQConnection lost = unstarted(proxy.url());
        lost.setClientID(name());
        lost.start();
        subscribe(lost, topic(), null);
        proxy.cut();
        send(auto(connect()), topic(), "one");
        eventually("the client id is free", () -> {
            try {
                ActiveMQConnection connection = identified();
                equal("one", takeText(subscribe(connection, topic(), null)));
                leave(connection);
                return true;
            } catch (javax.jms.InvalidClientIDException e) {
                return false;
            }
        });
    }

    @Test
    void it_works_through_more_than_its_prefetch() throws Exception {
        ActiveMQConnection connection = unstarted(url("jms.prefetchPolicy.durableTopicPrefetch=3"));
        connection.setClientID(name());
        connection.start();
        MessageConsumer subscriber = subscribe(connection, topic(), null);
        sendNumbers(auto(connect()), topic(), 200);
        equal(numbers(0, 200), takeTexts(subscriber, 200));
        leave(connection);
    }

    @Test
    void a_wildcard_subscription_collects_from_all_its_topics() throws Exception {
        ActiveMQConnection connection = identified();
        MessageConsumer subscriber = subscribe(connection, topic(">"), null);
        subscriber.close();
        Session sender = auto(connect());
        send(sender, topic("A"), "a");
        send(sender, topic("B.C"), "c");
        subscriber = subscribe(connection, topic(">"), null);
        equal(List.of("a", "c"), takeTexts(subscriber, 2));
        leave(connection);
    }

    private ActiveMQConnection identified() throws Exception {
        return identified("");
    }

    private ActiveMQConnection identified(String suffix) throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(name() + suffix);
        connection.start();
        return connection;
    }

    private static MessageConsumer subscribe(ActiveMQConnection connection, Topic topic, String selector)
            throws JMSException {
        Session session = auto(connection);
        return session.createDurableSubscriber(topic, NAME, selector, false);
    }

    private void subscribeAndLeave(Topic topic, String selector) throws Exception {
        ActiveMQConnection connection = identified();
        subscribe(connection, topic, selector);
        connection.close();
    }

    /** Ends the subscription, so that the shared broker keeps nothing of this test. */
    private void leave(ActiveMQConnection connection) throws Exception {
        String id = connection.getClientID();
        connection.close();
        ActiveMQConnection last = identified(id.substring(name().length()));
        auto(last).unsubscribe(NAME);
        last.close();
    }

    private void sendWithNumber(int count) throws Exception {
        Session session = auto(connect());
        for (int i = 0; i < count; i++) {
            Message message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            session.createProducer(topic()).send(message);
        }
    }
}
