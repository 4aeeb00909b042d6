import java.util.List;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TopicSubscriber;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQTopic;

/** Which consumers of a topic get a message, where the policy chooses among them. */
final class TopicDispatch extends ConfiguredTest {
    @Override
    Broker.Configuration configuration() {
        return Broker.Configuration.PLAIN.policies("""
                <policyEntry topic="Named.>"><dispatchPolicy><clientIdFilterDispatchPolicy/></dispatchPolicy></policyEntry>
                <policyEntry topic="Called.>"><dispatchPolicy>
                  <clientIdFilterDispatchPolicy ptpClientId="for" ptpSuffix=".ONE"/></dispatchPolicy></policyEntry>
                """);
    }

    private ActiveMQTopic t(String kind, String suffix) {
        return new ActiveMQTopic(kind + "." + name() + suffix);
    }

    private ActiveMQConnection connectAs(String clientId) throws Exception {
        ActiveMQConnection connection = unstarted(url(""));
        connection.setClientID(clientId);
        connection.start();
        return connection;
    }

    private static void publish(Session session, ActiveMQTopic topic, String text, String property, Object value)
            throws Exception {
        Message message = session.createTextMessage(text);
        message.setObjectProperty(property, value);
        MessageProducer producer = session.createProducer(topic);
        producer.send(message);
        producer.close();
    }

    @Test
    void a_message_that_names_a_client_goes_to_its_consumers_alone() throws Exception {
        ActiveMQTopic topic = t("Named", ".PTP");
        MessageConsumer a = auto(connectAs(name() + "-a")).createConsumer(topic);
        MessageConsumer b = auto(connectAs(name() + "-b")).createConsumer(topic);
        Session session = auto(connect());
        publish(session, topic, "for a", "PTP_CLIENTID", name() + "-a");
        publish(session, topic, "for nobody", "PTP_CLIENTID", name() + "-c");
        publish(session, topic, "no name", "PTP_CLIENTID", 1);
        send(session, topic, "for all");
        equal(List.of("for a", "for all"), takeAll(a));
        equal(List.of("for all"), takeAll(b));
    }

    @Test
    void a_name_in_a_topic_without_the_ending_is_nobodys() throws Exception {
        ActiveMQTopic topic = t("Named", ".X");
        MessageConsumer a = auto(connectAs(name() + "-a")).createConsumer(topic);
        Session session = auto(connect());
        publish(session, topic, "for a", "PTP_CLIENTID", name() + "-a");
        send(session, topic, "for all");
        equal(List.of("for all"), takeAll(a));
    }

    @Test
    void property_and_ending_may_be_chosen() throws Exception {
        ActiveMQTopic topic = t("Called", ".ONE");
        MessageConsumer a = auto(connectAs(name() + "-a")).createConsumer(topic);
        MessageConsumer b = auto(connectAs(name() + "-b")).createConsumer(topic);
        publish(auto(connect()), topic, "for b", "for", name() + "-b");
        equal(List.of(), takeAll(a));
        equal(List.of("for b"), takeAll(b));
    }

    @Test
    void a_durable_subscriber_is_chosen_like_others() throws Exception {
        ActiveMQTopic topic = t("Named", ".PTP");
        TopicSubscriber a = auto(connectAs(name() + "-a")).createDurableSubscriber(topic, "s");
        TopicSubscriber b = auto(connectAs(name() + "-b")).createDurableSubscriber(topic, "s");
        publish(auto(connect()), topic, "for b", "PTP_CLIENTID", name() + "-b");
        equal(List.of(), takeAll(a));
        equal(List.of("for b"), takeAll(b));
    }
}
