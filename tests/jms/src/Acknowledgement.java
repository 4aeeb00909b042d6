import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.ActiveMQSession;

/** Every acknowledgement mode: what is gone, and what another consumer still gets. */
final class Acknowledgement extends JmsTest {
    @Test
    void auto_what_was_received_is_gone_and_the_rest_is_there() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        send(session, queue(), "one", "two", "three");
        MessageConsumer consumer = session.createConsumer(queue());
        equal("one", takeText(consumer));
        equal("two", takeText(consumer));
        connection.close();
        equal(List.of("three"), drain(queue()));
    }

    @Test
    void auto_what_a_listener_handled_is_gone() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        CountDownLatch handled = new CountDownLatch(3);
        session.createConsumer(queue()).setMessageListener(message -> handled.countDown());
        send(auto(connection), queue(), "one", "two", "three");
        check(handled.await(SOON, TimeUnit.MILLISECONDS), "not handled");
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void auto_a_listener_that_throws_gets_the_message_again() throws Exception {
        ActiveMQConnection connection = connect();
        CountDownLatch handled = new CountDownLatch(2);
        int[] count = new int[1];
        auto(connection).createConsumer(queue()).setMessageListener(message -> {
            count[0]++;
            handled.countDown();
            if (count[0] == 1) {
                throw new IllegalStateException("on purpose");
            }
        });
        send(auto(connection), queue(), "one");
        check(handled.await(SOON, TimeUnit.MILLISECONDS), "not delivered again");
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void client_nothing_is_gone_before_acknowledge() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue(), "one", "two");
        takeTexts(session.createConsumer(queue()), 2);
        connection.close();
        equal(List.of("one", "two"), drain(queue()));
    }

    @Test
    void client_acknowledge_covers_all_that_the_session_received() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue("A"), "a1", "a2", "a3");
        send(session, queue("B"), "b1", "b2");
        MessageConsumer a = session.createConsumer(queue("A"));
        MessageConsumer b = session.createConsumer(queue("B"));
        takeTexts(a, 2);
        take(b).acknowledge();
        connection.close();
        equal(List.of("a3"), drain(queue("A")));
        equal(List.of("b2"), drain(queue("B")));
    }

    @Test
    void client_acknowledge_of_an_early_message_covers_the_later_ones() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = client(connection);
        send(session, queue(), "one", "two", "three");
        MessageConsumer consumer = session.createConsumer(queue());
        Message first = take(consumer);
        take(consumer);
        first.acknowledge();
        connection.close();
        equal(List.of("three"), drain(queue()));
    }

    @Test
    void client_another_session_is_not_acknowledged() throws Exception {
        ActiveMQConnection connection = connect();
        Session one = client(connection);
        Session two = client(connection);
        send(one, queue("A"), "a");
        send(one, queue("B"), "b");
        take(one.createConsumer(queue("A"))).acknowledge();
        take(two.createConsumer(queue("B")));
        connection.close();
        equal(List.of(), drain(queue("A")));
        equal(List.of("b"), drain(queue("B")));
    }

    @Test
    void dups_ok_what_was_received_is_gone_after_close() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = connection.createSession(false, Session.DUPS_OK_ACKNOWLEDGE);
        send(session, queue(), "one", "two", "three");
        takeTexts(session.createConsumer(queue()), 2);
        connection.close();
        equal(List.of("three"), drain(queue()));
    }

    @Test
    void dups_ok_a_listener_works_through_more_than_its_prefetch() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=10");
        Session session = connection.createSession(false, Session.DUPS_OK_ACKNOWLEDGE);
        CountDownLatch handled = new CountDownLatch(200);
        session.createConsumer(queue()).setMessageListener(message -> handled.countDown());
        sendNumbers(auto(connection), queue(), 200);
        check(handled.await(SOON, TimeUnit.MILLISECONDS), handled.getCount() + " did not come");
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void individual_only_the_acknowledged_message_is_gone() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        send(session, queue(), "one", "two", "three", "four");
        MessageConsumer consumer = session.createConsumer(queue());
        take(consumer);
        Message second = take(consumer);
        take(consumer);
        take(consumer).acknowledge();
        second.acknowledge();
        connection.close();
        equal(List.of("one", "three"), drain(queue()));
    }

    @Test
    void individual_acknowledged_messages_make_room_for_more() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=3");
        Session session = connection.createSession(false, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE);
        sendNumbers(session, queue(), 30);
        MessageConsumer consumer = session.createConsumer(queue());
        for (int i = 0; i < 30; i++) {
            Message message = take(consumer);
            equal("" + i, ((TextMessage) message).getText());
            message.acknowledge();
        }
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void optimized_acknowledge_works_through_many_messages() throws Exception {
        ActiveMQConnection connection = connect("jms.optimizeAcknowledge=true&jms.prefetchPolicy.all=10");
        Session session = auto(connection);
        sendNumbers(session, queue(), 100);
        equal(numbers(0, 100), takeTexts(session.createConsumer(queue()), 100));
        connection.close();
        equal(List.of(), drain(queue()));
    }

    @Test
    void optimized_acknowledge_is_sent_after_its_time() throws Exception {
        ActiveMQConnection connection = connect("jms.optimizeAcknowledge=true&jms.optimizeAcknowledgeTimeOut=100"
                + "&jms.optimizedAckScheduledAckInterval=100");
        Session session = auto(connection);
        send(session, queue(), "one");
        takeText(session.createConsumer(queue()));
        eventually("the queue is empty", () -> !auto(connection).createBrowser(queue()).getEnumeration().hasMoreElements());
    }

    @Test
    void optimized_acknowledge_works_for_topics() throws Exception {
        ActiveMQConnection connection = connect("jms.optimizeAcknowledge=true&jms.prefetchPolicy.all=10");
        Session session = auto(connection);
        MessageConsumer consumer = session.createConsumer(topic());
        sendNumbers(session, topic(), 100);
        equal(numbers(0, 100), takeTexts(consumer, 100));
    }

    @Test
    void transacted_what_was_received_is_gone_after_commit_only() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue(), "one", "two", "three");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue());
        equal("one", takeText(consumer));
        session.commit();
        equal("two", takeText(consumer));
        connection.close();
        equal(List.of("two", "three"), drain(queue()));
    }

    @Test
    void every_mode_works_through_more_than_its_prefetch_in_order() throws Exception {
        for (int mode : new int[] {Session.AUTO_ACKNOWLEDGE, Session.CLIENT_ACKNOWLEDGE,
                Session.DUPS_OK_ACKNOWLEDGE, ActiveMQSession.INDIVIDUAL_ACKNOWLEDGE}) {
            for (int prefetch : new int[] {1, 2, 7}) {
                ActiveMQConnection connection = connect("jms.prefetchPolicy.all=" + prefetch);
                Session session = connection.createSession(false, mode);
                sendNumbers(session, queue(), 50);
                MessageConsumer consumer = session.createConsumer(queue());
                for (int i = 0; i < 50; i++) {
                    Message message = take(consumer);
                    equal("" + i, ((TextMessage) message).getText(), "mode " + mode + " prefetch " + prefetch);
                    message.acknowledge();
                }
                connection.close();
                equal(List.of(), drain(queue()), "mode " + mode + " prefetch " + prefetch);
            }
        }
    }

    @Test
    void client_mode_gets_more_than_its_prefetch_without_acknowledging() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=5");
        Session session = client(connection);
        sendNumbers(session, queue(), 40);
        MessageConsumer consumer = session.createConsumer(queue());
        equal(numbers(0, 40), takeTexts(consumer, 40));
        connection.close();
        equal(numbers(0, 40), drain(queue()));
    }
}
